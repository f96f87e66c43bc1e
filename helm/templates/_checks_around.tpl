{{/* What is wrong with the values of what stands around the workloads, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.around" -}}
{{- $problems := include "onboarding-processor.kedaProblems" . | fromJsonArray }}
{{- $problems = concat $problems (include "onboarding-processor.routeProblems" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.strimziProblems" . | fromJsonArray) }}
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
{{- if and $policy.enabled (not $policy.webhooksFrom) (not .Values.simulator.enabled) }}
{{- $problems = append $problems "networkPolicy.webhooksFrom is missing, so no webhook would come in; name the gateway, for example [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: gateway}}}]" }}
{{- end }}
{{- range $monitor := list "podMonitor" "serviceMonitor" }}
{{- if and $policy.enabled (not $policy.metricsFrom) (index $.Values $monitor).enabled }}
{{- $problems = append $problems (printf "networkPolicy.metricsFrom is missing, so nobody could scrape what %s names; name Prometheus, for example [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" $monitor) }}
{{- end }}
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
{{- $place := dict "root" . "section" "kafka" }}
{{- $keys := include "onboarding-processor.secretName" $place | empty | ternary dict (include "onboarding-processor.secretKeys" $place | fromJson) }}
{{- $sasl := include "onboarding-processor.kedaSasl" . }}
{{- $properties := .Values.settings.kafka.properties | default dict }}
{{- if or (get $properties "ssl.certificate.location") (get $properties "ssl.keystore.location") }}
{{- $problems = append $problems "keda: the client's certificate in settings.kafka.properties is a file, which KEDA cannot read; make a TriggerAuthentication with cert and key, and name it by keda.triggerAuthentication" }}
{{- end }}
{{- $authority := get $properties "ssl.ca.location" | toString }}
{{- if and $authority (not (hasPrefix "/etc/ssl/" $authority)) (not .Values.keda.ca.existingSecret) }}
{{- $problems = append $problems (printf "keda.ca.existingSecret is missing: the authority of the brokers is the file %s, which KEDA cannot read; name the Secret that holds it" $authority) }}
{{- end }}
{{- if and $keys.properties (not (and .Values.keda.sasl .Values.keda.tls)) }}
{{- $problems = append $problems "keda: properties in a Secret (secrets.kafka.keys.properties) cannot be seen here; set keda.sasl and keda.tls, and where those need more than user name and password keda.triggerAuthentication" }}
{{- else if not (has $sasl (list "none" "plaintext" "scram_sha256" "scram_sha512")) }}
{{- $problems = append $problems (printf "keda: the chart makes no TriggerAuthentication for the mechanism %s; make one, and name it by keda.triggerAuthentication" $sasl) }}
{{- else if and (ne $sasl "none") (not .Values.strimzi.users.enabled) }}
{{- if not (or .Values.settings.kafka.sasl_username $keys.sasl_username) }}
{{- $problems = append $problems "keda: no user name for the brokers is known; set settings.kafka.sasl_username or secrets.kafka.keys.sasl_username, or name a TriggerAuthentication of your own by keda.triggerAuthentication" }}
{{- end }}
{{- if not $keys.sasl_password }}
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

{{- define "onboarding-processor.strimziProblems" -}}
{{- $problems := list }}
{{- $strimzi := .Values.strimzi }}
{{- range $what := list "topics" "users" }}
{{- if and (index $strimzi $what).enabled (not $strimzi.cluster) }}
{{- $problems = append $problems (printf "strimzi.cluster is missing, so no operator would make the %s; set it to the name of the Kafka" $what) }}
{{- end }}
{{- end }}
{{- if $strimzi.topics.enabled }}
{{- $names := list }}
{{- range $topic := include "onboarding-processor.strimzi.topics" . | fromJsonArray }}
{{- $names = append $names $topic.name }}
{{- end }}
{{- range $name := $strimzi.topics.except }}
{{- if not (has $name $names) }}
{{- $problems = append $problems (printf "strimzi.topics.except: %s is no topic of this installation; write one of %s" $name (join ", " $names)) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.workflows.catalogue (or $strimzi.catalogue.resultsTopics $strimzi.catalogue.rerun) }}
{{- $problems = append $problems "strimzi.catalogue is for workflows.existingConfigMap, but workflows.catalogue is given and says it itself; unset it" }}
{{- end }}
{{- if $strimzi.users.enabled }}
{{- $problems = concat $problems (include "onboarding-processor.strimziUserProblems" . | fromJsonArray) }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* What contradicts users that Strimzi makes. */}}
{{- define "onboarding-processor.strimziUserProblems" -}}
{{- $problems := list }}
{{- $kafka := .Values.settings.kafka }}
{{- $isScram := eq .Values.strimzi.users.authentication "scram-sha-512" }}
{{- if include "onboarding-processor.secretName" (dict "root" . "section" "kafka") }}
{{- $problems = append $problems "strimzi.users.enabled: the users have Secrets of their own, but secrets.kafka.existingSecret or externalSecrets.remoteRefs.kafka is set; unset it" }}
{{- end }}
{{- $operatorsIn := .Values.strimzi.users.operatorsIn }}
{{- if and $operatorsIn (not (include "onboarding-processor.workloads" . | fromJsonArray | has $operatorsIn)) }}
{{- $problems = append $problems (printf "strimzi.users.operatorsIn: there is no workload %s in layout %s; write one of %s" $operatorsIn .Values.layout (include "onboarding-processor.workloads" . | fromJsonArray | join ", ")) }}
{{- end }}
{{- if $kafka.sasl_username }}
{{- $problems = append $problems "strimzi.users.enabled: each workload has a user of its own, but settings.kafka.sasl_username is set; unset it" }}
{{- end }}
{{- $protocol := get ($kafka.properties | default dict) "security.protocol" | toString | upper }}
{{- if and $protocol (ne (hasPrefix "SASL" $protocol) $isScram) }}
{{- $problems = append $problems (printf "settings.kafka.properties: security.protocol %s does not fit strimzi.users.authentication; leave it out" $protocol) }}
{{- end }}
{{- if and .Values.setupJob.enabled (eq .Values.setupJob.when "before") }}
{{- $problems = append $problems "setupJob.when is before, but strimzi.users makes the user that the Job needs, and comes later; set setupJob.when to after" }}
{{- end }}
{{- toJson $problems }}
{{- end }}
