{{/* What is wrong with the values of monitoring, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.monitoring" -}}
{{- $problems := list }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- $problems = append $problems "podMonitor.enabled and serviceMonitor.enabled are both set, and every pod would be scraped twice; unset one of them" }}
{{- end }}
{{- $alerts := list }}
{{- range $group := (.Files.Get "rules/onboarding.yaml" | fromYaml).groups }}
{{- range $rule := $group.rules }}
{{- $alerts = append $alerts $rule.alert }}
{{- end }}
{{- end }}
{{- range $alert, $_ := .Values.prometheusRule.overrides }}
{{- if not (has $alert $alerts) }}
{{- $problems = append $problems (printf "prometheusRule.overrides: there is no alert %s; docs/alerts.md lists them" $alert) }}
{{- end }}
{{- end }}
{{- $dashboards := .Values.dashboards }}
{{- if and $dashboards.enabled (eq $dashboards.kind "GrafanaDashboard") (not $dashboards.instanceSelector) }}
{{- $problems = append $problems "dashboards.instanceSelector is missing, so no Grafana would show the dashboards; set it to the labels of yours, for example {dashboards: grafana}" }}
{{- end }}
{{- toJson $problems }}
{{- end }}
