{{/* What the API server would refuse, or pods would stumble over, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.objects" -}}
{{- $problems := include "onboarding-processor.catalogueProblems" . | fromJsonArray }}
{{- $fullname := include "onboarding-processor.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
{{- $problems = append $problems (printf "objects would be called %s-…, and Kubernetes refuses a Service of that name; set fullnameOverride to lower-case letters, digits and hyphens, a letter first" $fullname) }}
{{- end }}
{{- $problems = concat $problems (include "onboarding-processor.addressProblems" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.serviceProblems" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.rolloutProblems" . | fromJsonArray) }}
{{- toJson (concat $problems (include "onboarding-processor.volumeProblems" . | fromJsonArray)) }}
{{- end }}

{{/* Addresses of the wrong form, which the processor refuses at its start. */}}
{{- define "onboarding-processor.addressProblems" -}}
{{- $problems := list }}
{{- $settings := .Values.settings }}
{{- if contains "://" $settings.kafka.bootstrap_servers }}
{{- $problems = append $problems "settings.kafka.bootstrap_servers are host:port without a scheme; write kafka-0:9092,kafka-1:9092" }}
{{- end }}
{{- range $setting, $address := include "onboarding-processor.addresses" . | fromJson }}
{{- if and $address (not (regexMatch "^https?://[^/]" $address)) }}
{{- $problems = append $problems (printf "%s is no address; begin it with https:// or http://" $setting) }}
{{- end }}
{{- end }}
{{- range $setting, $proxy := include "onboarding-processor.proxies" . | fromJson }}
{{- if and $proxy (not (regexMatch "^http://[^/@]+/?$" $proxy)) }}
{{- $problems = append $problems (printf "%s is no proxy; write http://proxy:3128, without a path, user name or password" $setting) }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* Setting -> address of registry, provider and each further profile of it, as JSON. */}}
{{- define "onboarding-processor.addresses" -}}
{{- $settings := .Values.settings }}
{{- $addresses := dict "settings.api.base_url" $settings.api.base_url "settings.schema_registry.url" $settings.schema_registry.url }}
{{- range $profile, $provider := $settings.providers }}
{{- $_ := set $addresses (printf "settings.providers.%s.base_url" $profile) ($provider.base_url | default "") }}
{{- end }}
{{- toJson $addresses }}
{{- end }}

{{/* The proxy of each profile of the provider, as JSON: setting -> address, empty where it has none. */}}
{{- define "onboarding-processor.proxies" -}}
{{- $proxies := dict "settings.api.proxy_url" .Values.settings.api.proxy_url }}
{{- range $profile, $provider := .Values.settings.providers }}
{{- $_ := set $proxies (printf "settings.providers.%s.proxy_url" $profile) ($provider.proxy_url | default "") }}
{{- end }}
{{- toJson $proxies }}
{{- end }}

{{/* A catalogue of another shape, on which every pod would stop; the processor itself judges what is in it. */}}
{{- define "onboarding-processor.catalogueProblems" -}}
{{- $problems := list }}
{{- with .Values.workflows.catalogue }}
{{- $catalogue := fromYaml . }}
{{- if hasKey $catalogue "Error" }}
{{- $problems = append $problems (printf "workflows.catalogue is no YAML mapping (%s); workflows.example.yaml shows one" $catalogue.Error) }}
{{- else if not (kindIs "map" $catalogue.workflows) }}
{{- $problems = append $problems "workflows.catalogue has no mapping `workflows`; workflows.example.yaml shows one" }}
{{- else }}
{{- range $name, $workflow := $catalogue.workflows }}
{{- if not (kindIs "map" $workflow) }}
{{- $problems = append $problems (printf "workflows.catalogue: the workflow %s is no mapping; give it a definition" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* Volumes and mounts that are in each other's way, or in that of the chart's own. */}}
{{- define "onboarding-processor.volumeProblems" -}}
{{- $problems := list }}
{{- $own := list "workflows" "secrets" "tmp" "state" "kafka-certificates" "scratch" "files" }}
{{- $names := list }}
{{- range .Values.extraVolumes }}
{{- if concat $own $names | has .name }}
{{- $problems = append $problems (printf "extraVolumes: there is a volume %s already; give it another name" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $paths := list "/etc/processor/workflows" "/etc/processor/secrets" "/etc/processor/kafka" "/tmp" "/var/lib/processor" "/files" }}
{{- range .Values.extraVolumeMounts }}
{{- if append $names "tmp" | has .name | not }}
{{- $problems = append $problems (printf "extraVolumeMounts: extraVolumes has no %s; add it there" .name) }}
{{- end }}
{{- $path := trimSuffix "/" .mountPath }}
{{- if has $path $paths }}
{{- $problems = append $problems (printf "extraVolumeMounts: something is mounted at %s already; choose another place" $path) }}
{{- end }}
{{- $paths = append $paths $path }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* A Service that would not take what it is told. */}}
{{- define "onboarding-processor.serviceProblems" -}}
{{- $problems := list }}
{{- $service := .Values.ingestor.service }}
{{- if and $service.externalTrafficPolicy (eq $service.type "ClusterIP") }}
{{- $problems = append $problems "ingestor.service.externalTrafficPolicy means nothing for a ClusterIP; set ingestor.service.type, or unset it" }}
{{- end }}
{{- if and $service.loadBalancerSourceRanges (ne $service.type "LoadBalancer") }}
{{- $problems = append $problems (printf "ingestor.service.loadBalancerSourceRanges would let in everybody, since type is %s; set ingestor.service.type to LoadBalancer, or unset them" $service.type) }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* Rollouts that could not end, and annotations that would be there twice. */}}
{{- define "onboarding-processor.rolloutProblems" -}}
{{- $problems := list }}
{{- range $role := include "onboarding-processor.workloads" . | fromJsonArray }}
{{- $values := index $.Values $role }}
{{- $ready := $values.minReadySeconds | default 0 | int }}
{{- $deadline := $values.progressDeadlineSeconds | default 600 | int }}
{{- if and (le $deadline $ready) (not (include "onboarding-processor.isPersistent" (dict "root" $ "role" $role))) }}
{{- $problems = append $problems (printf "%s.progressDeadlineSeconds: %d is no more than %s.minReadySeconds, and no rollout would end; raise it" $role $deadline $role) }}
{{- end }}
{{- range $annotation := list "checksum/settings" "checksum/workflows" }}
{{- if hasKey ($values.podAnnotations | default dict) $annotation }}
{{- $problems = append $problems (printf "%s.podAnnotations: %s is the chart's own; leave it out" $role $annotation) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}
