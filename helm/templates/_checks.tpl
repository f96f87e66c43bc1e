{{/* Stops with one sentence for each thing that is missing or contradicts another. */}}
{{- define "onboarding-processor.checks" -}}
{{- $problems := list }}
{{- $settings := .Values.settings }}
{{- if not $settings.kafka.bootstrap_servers }}
{{- $problems = append $problems "settings.kafka.bootstrap_servers is missing; set it to brokers such as kafka-0:9092,kafka-1:9092" }}
{{- end }}
{{- if not $settings.schema_registry.url }}
{{- $problems = append $problems "settings.schema_registry.url is missing; set it to an address such as http://registry:8081" }}
{{- end }}
{{- $problems = concat $problems (include "onboarding-processor.providerProblems" . | fromJsonArray) }}
{{- if and (not .Values.workflows.catalogue) (not .Values.workflows.existingConfigMap) }}
{{- $problems = append $problems "workflows.catalogue is missing; give --set-file workflows.catalogue=workflows.yaml, or set workflows.existingConfigMap" }}
{{- end }}
{{- if and .Values.workflows.catalogue .Values.workflows.existingConfigMap }}
{{- $problems = append $problems "workflows.catalogue and workflows.existingConfigMap are both set; unset one of them" }}
{{- end }}
{{- $problems = concat $problems (include "onboarding-processor.secretProblems" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.roleProblems" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.checks.around" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.checks.monitoring" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.checks.objects" . | fromJsonArray) }}
{{- $problems = concat $problems (include "onboarding-processor.checks.command" . | fromJsonArray) }}
{{- if eq (int $settings.webhook.port) (int $settings.ops.port) }}
{{- $problems = append $problems "settings.ops.port is settings.webhook.port too; choose another one" }}
{{- end }}
{{- if $problems }}
{{- fail (printf "\n%s" (join "\n" $problems)) }}
{{- end }}
{{- end }}

{{/* What is wrong with who plays the provider, and as whom it is called. */}}
{{- define "onboarding-processor.providerProblems" -}}
{{- $problems := list }}
{{- $api := .Values.secrets.api }}
{{- $isExternal := include "onboarding-processor.isExternal" (dict "root" . "section" "api") }}
{{- if .Values.simulator.enabled }}
{{- range $value, $given := dict "settings.api.base_url" .Values.settings.api.base_url "settings.api.proxy_url" .Values.settings.api.proxy_url "settings.webhook.key_base_url" .Values.settings.webhook.key_base_url "secrets.api.existingSecret" $api.existingSecret "externalSecrets.remoteRefs.api" $isExternal }}
{{- if $given }}
{{- $problems = append $problems (printf "simulator.enabled stands instead of a provider, but %s is set; unset it, or simulator.enabled" $value) }}
{{- end }}
{{- end }}
{{- else }}
{{- if not .Values.settings.api.base_url }}
{{- $problems = append $problems "settings.api.base_url is missing; set it to the address of the provider's API" }}
{{- end }}
{{- if not (or $api.existingSecret $isExternal) }}
{{- $problems = append $problems "secrets.api.existingSecret is missing; make a Secret with the keys key and secret, and name it there" }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* The words are those of `is_secret_property` in processor/kafka_properties.py. */}}
{{- define "onboarding-processor.secretProblems" -}}
{{- $problems := list }}
{{- $properties := .Values.settings.kafka.properties | default dict }}
{{- range $name, $_ := $properties }}
{{- if regexMatch "password|secret|pem|jaas|token|sasl\\.oauthbearer\\.config" $name }}
{{- $problems = append $problems (printf "settings.kafka.properties: %s may be secret; put all properties into a Secret, as a JSON object, and name it by secrets.kafka.existingSecret and secrets.kafka.keys.properties" $name) }}
{{- end }}
{{- end }}
{{- range $section, $secret := .Values.secrets }}
{{- $place := dict "root" $ "section" $section }}
{{- $isExternal := include "onboarding-processor.isExternal" $place }}
{{- $keys := include "onboarding-processor.secretKeys" $place | fromJson }}
{{- if and $secret.existingSecret $isExternal }}
{{- $problems = append $problems (printf "secrets.%s.existingSecret is set, and externalSecrets.remoteRefs.%s too; unset one of them" $section $section) }}
{{- end }}
{{- if and $secret.existingSecret (not $keys) }}
{{- $problems = append $problems (printf "secrets.%s.existingSecret is set, but secrets.%s.keys names no key in it; name one, or unset it" $section $section) }}
{{- end }}
{{- range $setting, $key := or $secret.existingSecret $isExternal | empty | ternary dict $keys }}
{{- if hasKey (index $.Values.settings $section) $setting }}
{{- $problems = append $problems (printf "settings.%s.%s is set, and secrets.%s.keys.%s too; unset one of them" $section $setting $section $setting) }}
{{- end }}
{{- end }}
{{- end }}
{{- $problems = concat $problems (include "onboarding-processor.sourceProblems" . | fromJsonArray) }}
{{- toJson (concat $problems (include "onboarding-processor.externalProblems" . | fromJsonArray)) }}
{{- end }}

{{/* Settings that come from two places, of which Kubernetes or the processor would take one or none, and credentials of
which only one half is given. What stands in secret properties is not seen. */}}
{{- define "onboarding-processor.sourceProblems" -}}
{{- $problems := list }}
{{- $workload := dict "root" . "role" (include "onboarding-processor.workloads" . | fromJsonArray | first) }}
{{- $given := keys (include "onboarding-processor.variables" . | fromYaml) }}
{{- range include "onboarding-processor.strimzi.env" $workload | fromYamlArray }}
{{- $given = append $given .name }}
{{- end }}
{{- range include "onboarding-processor.secretSources" $workload | fromYamlArray }}
{{- range .secret.items }}
{{- if has .path $given }}
{{- $problems = append $problems (printf "%s is given twice, by secrets, externalSecrets, moreSecrets or settings; leave one of them out" .path) }}
{{- end }}
{{- $given = append $given .path }}
{{- end }}
{{- end }}
{{- range $half, $other := dict "api.key" "secret" "api.proxy_username" "proxy_password" "kafka.sasl_username" "sasl_password" "schema_registry.username" "password" }}
{{- $section := first (splitList "." $half) }}
{{- $first := last (splitList "." $half) }}
{{- $isFirst := has (printf "PROCESSOR_%s__%s" $section $first | upper) $given }}
{{- $isOther := has (printf "PROCESSOR_%s__%s" $section $other | upper) $given }}
{{- $isHidden := and (eq $section "kafka") (has "PROCESSOR_KAFKA__PROPERTIES" $given) }}
{{- if and (ne $isFirst $isOther) (not $isHidden) }}
{{- $missing := $isFirst | ternary $other $first }}
{{- $problems = append $problems (printf "%s: %s is given without %s; name its key in secrets.%s.keys.%s, or leave both out" $section ($isFirst | ternary $first $other) $missing $section $missing) }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* What is wrong with Secrets that are not there yet. */}}
{{- define "onboarding-processor.externalProblems" -}}
{{- $problems := list }}
{{- $external := .Values.externalSecrets }}
{{- if $external.enabled }}
{{- if not $external.secretStoreRef.name }}
{{- $problems = append $problems "externalSecrets.secretStoreRef.name is missing; name the SecretStore or ClusterSecretStore there" }}
{{- end }}
{{- if not (values $external.remoteRefs | compact) }}
{{- $problems = append $problems "externalSecrets.enabled is set, but externalSecrets.remoteRefs says no place of a secret; fill a section of it, or unset enabled" }}
{{- end }}
{{- $api := $external.remoteRefs.api }}
{{- if and $api.token (or $api.key $api.secret) }}
{{- $problems = append $problems "externalSecrets.remoteRefs.api: token stands instead of key and secret; leave one or the other out" }}
{{- end }}
{{- end }}
{{- if and .Values.setupJob.enabled (eq .Values.setupJob.when "before") }}
{{- range $section := list "kafka" "schema_registry" }}
{{- if include "onboarding-processor.isExternal" (dict "root" $ "section" $section) }}
{{- $problems = append $problems (printf "setupJob.when is before, but externalSecrets.remoteRefs.%s makes a Secret that the Job needs, and comes later; set setupJob.when to after, or give secrets.%s.existingSecret" $section $section) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.setupJob.enabled (not .Values.setupJob.topics) (not .Values.setupJob.schemas) }}
{{- $problems = append $problems "setupJob.enabled is set, but neither setupJob.topics nor setupJob.schemas; set one, or unset enabled" }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{/* What is wrong with the workloads that are made, and with values for others. */}}
{{- define "onboarding-processor.roleProblems" -}}
{{- $problems := list }}
{{- $partitions := int .Values.settings.topics.partitions }}
{{- $workloads := include "onboarding-processor.workloads" . | fromJsonArray }}
{{- range $role := $workloads }}
{{- $workload := dict "root" $ "role" $role }}
{{- $replicas := int (index $.Values $role).replicas }}
{{- $isFixed := include "onboarding-processor.isAutoscaled" $workload | empty }}
{{- if and (ne $role "ingestor") $isFixed (gt $replicas $partitions) (not $.Values.acknowledgeIdleReplicas) }}
{{- $problems = append $problems (printf "%s.replicas: %d are more than the %d partitions of settings.topics.partitions, and the rest would be idle; lower it, or set acknowledgeIdleReplicas" $role $replicas $partitions) }}
{{- end }}
{{- $least := include "onboarding-processor.stopSeconds" $workload | int }}
{{- if lt (include "onboarding-processor.graceSeconds" $workload | int) $least }}
{{- $problems = append $problems (printf "%s.terminationGracePeriodSeconds: at least %d, or a stop is cut off before its work is committed; raise it, or unset it" $role $least) }}
{{- end }}
{{- end }}
{{- range $role := list "submitter" "reconciler" "all" }}
{{- if (index $.Values $role).persistence.enabled }}
{{- if not (has $role $workloads) }}
{{- $problems = append $problems (printf "%s.persistence means nothing where layout is %s; set that of %s" $role $.Values.layout (without $workloads "ingestor" | join " and ")) }}
{{- else if eq ((index $.Values.settings "state" | default dict).store | default "rocksdb") "memory" }}
{{- $problems = append $problems (printf "%s.persistence keeps nothing where settings.state.store is memory; unset one of them" $role) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}
