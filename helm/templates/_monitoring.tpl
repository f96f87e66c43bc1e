{{/* The labels of what operators for monitoring pick up; they may choose by labels of yours. Takes {root, more}. */}}
{{- define "onboarding-processor.monitoringLabels" -}}
{{- $own := include "onboarding-processor.labels" (dict "root" .root) | fromYaml }}
{{- merge $own .more | toYaml }}
{{- end }}

{{/* What is scraped: the pods of this release, the Service of their metrics, and the release's name as job. */}}
{{- define "onboarding-processor.scraped" -}}
jobLabel: app.kubernetes.io/instance
podTargetLabels: [app.kubernetes.io/component]
namespaceSelector:
  matchNames: [{{ .Release.Namespace }}]
selector:
  matchLabels:
    app.kubernetes.io/name: {{ include "onboarding-processor.name" . }}
    app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* How an endpoint is scraped. Takes the values of a monitor. */}}
{{- define "onboarding-processor.scraping" -}}
path: /metrics
interval: {{ .interval }}
scrapeTimeout: {{ .scrapeTimeout }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The groups of rules for this release, as JSON: rules/onboarding.yaml with the objectives, the runbook's address and
the overrides of values, each selector held to the release's namespace and job. */}}
{{- define "onboarding-processor.ruleGroups" -}}
{{- $values := .Values.prometheusRule }}
{{- $scope := printf "namespace=%q, job=%q" .Release.Namespace (default .Release.Name $values.job) }}
{{- $text := .Files.Get "rules/onboarding.yaml" }}
{{- $text = replace "(1 - 0.99)" (printf "(1 - %v)" $values.objectives.completion) $text }}
{{- $text = replace "(1 - 0.999)" (printf "(1 - %v)" $values.objectives.webhooks) $text }}
{{- $groups := list }}
{{- range $group := (fromYaml $text).groups }}
{{- $rules := list }}
{{- range $rule := $group.rules }}
{{- $override := index $values.overrides ($rule.alert | default "") | default dict }}
{{- /* A selector without braces gets some first, so that there is one form. */}}
{{- $expr := regexReplaceAll "(onboarding[_:][a-z0-9_:]+)\\b([^{a-z0-9_:]|$)" $rule.expr "${1}{}${2}" }}
{{- $expr = regexReplaceAll "(onboarding[_:][a-z0-9_:]+)\\{" $expr (printf "${1}{%s, " $scope) | replace ", }" "}" }}
{{- $rule = merge (dict "expr" (default $expr $override.expr)) (omit $override "enabled" "expr" | deepCopy) $rule }}
{{- if and $rule.alert $values.runbookUrl }}
{{- $url := replace "docs/alerts.md" $values.runbookUrl $rule.annotations.runbook_url }}
{{- $rule = set $rule "annotations" (merge (dict "runbook_url" $url) $rule.annotations) }}
{{- end }}
{{- if ne (toString $override.enabled) "false" }}
{{- $rules = append $rules $rule }}
{{- end }}
{{- end }}
{{- $groups = append $groups (dict "name" $group.name "rules" $rules) }}
{{- end }}
{{- toJson $groups }}
{{- end }}
