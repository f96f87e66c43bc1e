{{/* What is wrong with the values of what stands around the workloads, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.around" -}}
{{- $problems := include "onboarding-processor.kedaProblems" . | fromJsonArray }}
{{- $problems = concat $problems (include "onboarding-processor.routeProblems" . | fromJsonArray) }}
{{- $hpa := .Values.hpa }}
{{- if and $hpa.enabled (eq .Values.layout "all") }}
{{- $problems = append $problems "hpa.enabled: the ingestor has no pods of its own in layout all; unset it, or set layout to roles" }}
{{- end }}
{{- if and $hpa.enabled (gt (int $hpa.minReplicas) (int $hpa.maxReplicas)) }}
{{- $problems = append $problems (printf "hpa.minReplicas: %d is above hpa.maxReplicas; lower it" (int $hpa.minReplicas)) }}
{{- end }}
{{- if and $hpa.enabled (not (dig "requests" "cpu" "" .Values.ingestor.resources)) }}
{{- $problems = append $problems "hpa.enabled: ingestor.resources.requests.cpu is missing, and utilization is a part of it; set it" }}
{{- end }}
{{- $policy := .Values.networkPolicy }}
{{- if and $policy.enabled (not $policy.webhooksFrom) }}
{{- $problems = append $problems "networkPolicy.webhooksFrom is missing, so no webhook would come in; name the gateway, for example [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: gateway}}}]" }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "onboarding-processor.kedaProblems" -}}
{{- $problems := list }}
{{- $workloads := include "onboarding-processor.workloads" . | fromJsonArray }}
{{- $partitions := int .Values.settings.topics.partitions }}
{{- $isOn := false }}
{{- range $role := list "submitter" "reconciler" "all" }}
{{- $scaled := index $.Values.keda $role }}
{{- if $scaled.enabled }}
{{- $isOn = true }}
{{- $most := int (default $partitions $scaled.maxReplicas) }}
{{- if not (has $role $workloads) }}
{{- $problems = append $problems (printf "keda.%s.enabled: there is no such workload in layout %s; enable one of %s instead" $role $.Values.layout (join ", " (without $workloads "ingestor"))) }}
{{- end }}
{{- if gt $most $partitions }}
{{- $problems = append $problems (printf "keda.%s.maxReplicas: %d are more than the %d partitions of settings.topics.partitions, and the rest would be idle; lower it, or unset it" $role $most $partitions) }}
{{- end }}
{{- if gt (int $scaled.minReplicas) $most }}
{{- $problems = append $problems (printf "keda.%s.minReplicas: %d are more than the %d that there may be at most; lower it" $role (int $scaled.minReplicas) $most) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $isOn (not .Values.keda.triggerAuthentication) }}
{{- $problems = concat $problems (include "onboarding-processor.kedaAuthenticationProblems" . | fromJsonArray) }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* What keeps the chart from making a TriggerAuthentication. */}}
{{- define "onboarding-processor.kedaAuthenticationProblems" -}}
{{- $problems := list }}
{{- $secret := .Values.secrets.kafka }}
{{- $sasl := include "onboarding-processor.kedaSasl" . }}
{{- if and $secret.existingSecret $secret.keys.properties (not (and .Values.keda.sasl .Values.keda.tls)) }}
{{- $problems = append $problems "keda: properties in a Secret (secrets.kafka.keys.properties) cannot be seen here; set keda.sasl and keda.tls, and where those need more than user name and password keda.triggerAuthentication" }}
{{- else if not (has $sasl (list "none" "plaintext" "scram_sha256" "scram_sha512")) }}
{{- $problems = append $problems (printf "keda: the chart makes no TriggerAuthentication for the mechanism %s; make one, and name it by keda.triggerAuthentication" $sasl) }}
{{- else if ne $sasl "none" }}
{{- if not (or .Values.settings.kafka.sasl_username (and $secret.existingSecret $secret.keys.sasl_username)) }}
{{- $problems = append $problems "keda: no user name for the brokers is known; set settings.kafka.sasl_username or secrets.kafka.keys.sasl_username, or name a TriggerAuthentication of your own by keda.triggerAuthentication" }}
{{- end }}
{{- if not (and $secret.existingSecret $secret.keys.sasl_password) }}
{{- $problems = append $problems "keda: no password for the brokers is known; set secrets.kafka.existingSecret and secrets.kafka.keys.sasl_password, or name a TriggerAuthentication of your own by keda.triggerAuthentication" }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "onboarding-processor.routeProblems" -}}
{{- $problems := list }}
{{- $certificate := .Values.certificate }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- $problems = append $problems "httpRoute.parentRefs is missing, so no gateway would take the route; name one, for example [{name: public, namespace: gateway}]" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- $problems = append $problems "ingress.hosts is missing, so the Ingress would take the path of every host; name one" }}
{{- end }}
{{- if and $certificate.enabled (not $certificate.issuerRef.name) }}
{{- $problems = append $problems "certificate.issuerRef.name is missing; name the Issuer or ClusterIssuer that signs" }}
{{- end }}
{{- if and $certificate.enabled (not (include "onboarding-processor.dnsNames" . | fromJsonArray)) }}
{{- $problems = append $problems "certificate.dnsNames is missing, and neither httpRoute.hostnames nor ingress.hosts says a name; set one of them" }}
{{- end }}
{{- if and $certificate.enabled .Values.ingress.enabled .Values.ingress.tlsSecret (ne .Values.ingress.tlsSecret (include "onboarding-processor.certificateSecret" .)) }}
{{- $problems = append $problems "ingress.tlsSecret is another one than the Secret of certificate; unset it" }}
{{- end }}
{{- toJson $problems }}
{{- end }}
