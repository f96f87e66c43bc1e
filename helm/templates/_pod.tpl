{{/* What all pods of this chart have in common: those of workloads, of the set-up, of the simulator and of tests. */}}

{{/* The labels of a pod; a user's add to them and replace none. Takes {root, role}. */}}
{{- define "onboarding-processor.podLabels" -}}
{{- $own := include "onboarding-processor.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" (include "onboarding-processor.version" .root) }}
{{- $_ := set $own "app.kubernetes.io/part-of" "onboarding" }}
{{- $given := (index .root.Values .role | default dict).podLabels | default dict }}
{{- merge $own $given .root.Values.commonLabels | toYaml }}
{{- end }}

{{/* The beginning of a pod's specification. Takes the root. */}}
{{- define "onboarding-processor.podBasics" -}}
serviceAccountName: {{ include "onboarding-processor.serviceAccountName" . }}
{{- include "onboarding-processor.podSafety" . | nindent 0 }}
{{- end }}

{{/* The same without the service account. Takes the root. */}}
{{- define "onboarding-processor.podSafety" -}}
automountServiceAccountToken: false
# Without it a Service named processor-… would look like a setting.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end }}

{{/* The beginning of a container. Takes the root. */}}
{{- define "onboarding-processor.containerBasics" -}}
image: {{ include "onboarding-processor.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# A start that a setting stopped says why in `kubectl describe pod`.
terminationMessagePolicy: FallbackToLogsOnError
securityContext:
  {{- toYaml .Values.containerSecurityContext | nindent 2 }}
{{- end }}

{{/* The variables that say where files are, as items of `env`. Takes {root, role}. */}}
{{- define "onboarding-processor.places" -}}
- name: PROCESSOR_WORKFLOWS__FILE
  value: /etc/processor/workflows/workflows.yaml
{{- if include "onboarding-processor.secretSources" . | trim }}
- name: PROCESSOR_SECRETS_DIRECTORY
  value: /etc/processor/secrets
{{- end }}
{{- with include "onboarding-processor.strimzi.env" . }}
{{ . }}
{{- end }}
{{- end }}

{{/* The mounts of every container that is given settings. Takes {root, role}. */}}
{{- define "onboarding-processor.mounts" -}}
- name: workflows
  mountPath: /etc/processor/workflows
  readOnly: true
{{- if include "onboarding-processor.secretSources" . | trim }}
- name: secrets
  mountPath: /etc/processor/secrets
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with include "onboarding-processor.strimzi.volumeMounts" . }}
{{ . }}
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The volumes for them. Takes {root, role}, and `catalogue`: the name of the chart's own ConfigMap, if another. */}}
{{- define "onboarding-processor.commonVolumes" -}}
{{- $workflows := .root.Values.workflows -}}
- name: workflows
  configMap:
    {{- if $workflows.existingConfigMap }}
    name: {{ $workflows.existingConfigMap }}
    items: [{ key: {{ $workflows.key | quote }}, path: workflows.yaml }]
    {{- else }}
    name: {{ .catalogue | default (printf "%s-workflows" (include "onboarding-processor.fullname" .root)) }}
    {{- end }}
{{- with include "onboarding-processor.secretSources" . | trim }}
- name: secrets
  projected:
    defaultMode: 0440 # readable by fsGroup
    sources:
      {{- . | nindent 6 }}
{{- end }}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- with include "onboarding-processor.strimzi.volumes" . }}
{{ . }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Which nodes a pod may run on, and before which other pods. Takes the values of what it is a pod of. */}}
{{- define "onboarding-processor.nodes" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
