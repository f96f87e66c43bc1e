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
{{- if not $settings.api.base_url }}
{{- $problems = append $problems "settings.api.base_url is missing; set it to the address of the provider's API" }}
{{- end }}
{{- if not .Values.secrets.api.existingSecret }}
{{- $problems = append $problems "secrets.api.existingSecret is missing; make a Secret with the keys key and secret, and name it there" }}
{{- end }}
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
{{- if eq (int $settings.webhook.port) (int $settings.ops.port) }}
{{- $problems = append $problems "settings.ops.port is settings.webhook.port too; choose another one" }}
{{- end }}
{{- if $problems }}
{{- fail (printf "\n%s" (join "\n" $problems)) }}
{{- end }}
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
{{- if $secret.existingSecret }}
{{- if not (include "onboarding-processor.secretItems" (dict "section" $section "keys" $secret.keys)) }}
{{- $problems = append $problems (printf "secrets.%s.existingSecret is set, but secrets.%s.keys names no key in it; name one, or unset it" $section $section) }}
{{- end }}
{{- range $setting, $key := $secret.keys }}
{{- if and $key (hasKey (index $.Values.settings $section) $setting) }}
{{- $problems = append $problems (printf "settings.%s.%s is set, and secrets.%s.keys.%s too; unset one of them" $section $setting $section $setting) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- define "onboarding-processor.roleProblems" -}}
{{- $problems := list }}
{{- $partitions := int .Values.settings.topics.partitions }}
{{- range $role := list "submitter" "reconciler" }}
{{- $replicas := int (index $.Values $role).replicas }}
{{- if and (gt $replicas $partitions) (not $.Values.acknowledgeIdleReplicas) }}
{{- $problems = append $problems (printf "%s.replicas: %d are more than the %d partitions of settings.topics.partitions, and the rest would be idle; lower it, or set acknowledgeIdleReplicas" $role $replicas $partitions) }}
{{- end }}
{{- end }}
{{- range $role := list "submitter" "ingestor" "reconciler" }}
{{- $least := include "onboarding-processor.stopSeconds" (dict "root" $ "role" $role) | int }}
{{- if lt (include "onboarding-processor.graceSeconds" (dict "root" $ "role" $role) | int) $least }}
{{- $problems = append $problems (printf "%s.terminationGracePeriodSeconds: at least %d, or a stop is cut off before its work is committed; raise it, or unset it" $role $least) }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}
