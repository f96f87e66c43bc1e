{{/* Values of the placeholders in files/kafka.yaml, as JSON. Takes the root. */}}
{{- define "onboarding-processor.kafkaPlaces" -}}
{{- $facts := .Files.Get "files/kafka.yaml" | fromYaml }}
{{- $settings := .Values.settings }}
{{- $places := dict "application_id" $settings.application_id }}
{{- range $setting, $name := $facts.names }}
{{- $default := replace "{application_id}" $settings.application_id $name }}
{{- $_ := set $places $setting (get $settings.topics $setting | default $default) }}
{{- end }}
{{- range $setting, $number := $facts.numbers }}
{{- $_ := set $places $setting (get $settings.topics $setting | default $number | int64 | toString) }}
{{- end }}
{{- $_ := set $places "message_bytes_max" (add $places.record_bytes_max $facts.batchOverheadBytes | toString) }}
{{- toJson $places }}
{{- end }}

{{/* The name of a topic by its setting. Takes {root, setting}. */}}
{{- define "onboarding-processor.topic" -}}
{{- get (include "onboarding-processor.kafkaPlaces" .root | fromJson) .setting }}
{{- end }}

{{/* A section of files/kafka.yaml with everything in its place, as a JSON list; what is for results stands there once for
each topic of results, and what is for runs again only where the catalogue wants them. Takes {root, items}. */}}
{{- define "onboarding-processor.kafkaItems" -}}
{{- $places := include "onboarding-processor.kafkaPlaces" .root | fromJson }}
{{- $catalogue := include "onboarding-processor.catalogueFacts" .root | fromJson }}
{{- $items := list }}
{{- range $item := .items }}
{{- $topics := eq $item.name "{results}" | ternary (prepend $catalogue.resultsTopics $places.results | uniq) (list "") }}
{{- range $topic := $item.rerun | empty | or $catalogue.rerun | ternary $topics list }}
{{- $text := toJson (omit $item "rerun") }}
{{- range $name, $value := merge (dict "results" (default $places.results $topic)) $places }}
{{- $text = replace (printf "{%s}" $name) $value $text }}
{{- end }}
{{- $items = append $items (fromJson $text) }}
{{- end }}
{{- end }}
{{- toJson $items }}
{{- end }}

{{/* What topics and rights depend on in the catalogue, as JSON. Takes the root. */}}
{{- define "onboarding-processor.catalogueFacts" -}}
{{- $topics := .Values.strimzi.catalogue.resultsTopics }}
{{- $rerun := .Values.strimzi.catalogue.rerun }}
{{- range $workflow := (fromYaml .Values.workflows.catalogue).workflows }}
{{- /* What is none is refused by the checks, with a sentence. */}}
{{- if kindIs "map" $workflow }}
{{- if $workflow.resultsTopic }}
{{- $topics = append $topics $workflow.resultsTopic }}
{{- end }}
{{- if eq (dig "unknown" "policy" "" $workflow) "rerun" }}
{{- $rerun = true }}
{{- end }}
{{- end }}
{{- end }}
{{- dict "resultsTopics" (uniq $topics) "rerun" $rerun | toJson }}
{{- end }}

{{/* librdkafka's properties as JSON, those of a Strimzi user under what is given. Takes the root. */}}
{{- define "onboarding-processor.kafkaProperties" -}}
{{- $given := .Values.settings.kafka.properties | default dict }}
{{- merge dict $given (include "onboarding-processor.strimzi.properties" . | fromYaml) | toJson }}
{{- end }}
