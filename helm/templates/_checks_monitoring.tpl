{{/* What is wrong with the values of monitoring, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.monitoring" -}}
{{- $problems := list }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- $problems = append $problems "podMonitor.enabled and serviceMonitor.enabled are both set, and every pod would be scraped twice; unset one of them" }}
{{- end }}
{{- range $monitor := list "podMonitor" "serviceMonitor" }}
{{- $scraping := index $.Values $monitor }}
{{- if and $scraping.enabled (gt (include "onboarding-processor.milliseconds" $scraping.scrapeTimeout | int64) (include "onboarding-processor.milliseconds" $scraping.interval | int64)) }}
{{- $problems = append $problems (printf "%s.scrapeTimeout: %s is longer than %s.interval, and the operator would leave it out without a word; lower it" $monitor $scraping.scrapeTimeout $monitor) }}
{{- end }}
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

{{/* How long a duration as Prometheus writes it is. */}}
{{- define "onboarding-processor.milliseconds" -}}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+(ms|[smhd])" . -1 }}
{{- $unit := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 | dig (regexFind "[a-z]+$" .) 0 }}
{{- $sum = regexFind "^[0-9]+" . | int64 | mul $unit | add $sum }}
{{- end }}
{{- $sum }}
{{- end }}
