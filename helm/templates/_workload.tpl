{{/* The Deployment of a role. Takes {root, role}. */}}
{{- define "onboarding-processor.deployment" -}}
{{- $root := .root }}
{{- $values := index $root.Values .role }}
{{- $isIngestor := eq .role "ingestor" }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "onboarding-processor.fullname" $root }}-{{ .role }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "onboarding-processor.labels" . | nindent 4 }}
spec:
  {{- if not (include "onboarding-processor.isAutoscaled" .) }}
  replicas: {{ $values.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "onboarding-processor.selectorLabels" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      {{- if $isIngestor }}
      # Webhooks are always taken: the provider repeats one for about a minute only.
      maxUnavailable: 0
      maxSurge: 1
      {{- else }}
      # One at a time and none beside it, so that partitions move once for each pod.
      maxUnavailable: 1
      maxSurge: 0
      {{- end }}
  template:
    metadata:
      labels:
        {{- $own := include "onboarding-processor.selectorLabels" . | fromYaml }}
        {{- $_ := set $own "app.kubernetes.io/version" (include "onboarding-processor.version" $root) }}
        {{- $_ := set $own "app.kubernetes.io/part-of" "onboarding" }}
        {{- merge $own $values.podLabels | toYaml | nindent 8 }}
      annotations:
        # A pod reads both at its start, so a change of either makes new pods.
        checksum/settings: {{ include "onboarding-processor.variables" $root | sha256sum }}
        checksum/workflows: {{ $root.Values.workflows.catalogue | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "onboarding-processor.serviceAccountName" $root }}
      automountServiceAccountToken: false
      # Without it a Service named processor-… would look like a setting.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ include "onboarding-processor.graceSeconds" . }}
      {{- with $root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- toYaml $root.Values.podSecurityContext | nindent 8 }}
      containers:
        - name: {{ .role }}
          {{- include "onboarding-processor.container" . | nindent 10 }}
      volumes:
        {{- include "onboarding-processor.volumes" . | nindent 8 }}
      topologySpreadConstraints:
        {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "onboarding-processor.selectorLabels" $ | nindent 14 }}
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}

{{- define "onboarding-processor.container" -}}
{{- $root := .root }}
{{- $values := index $root.Values .role }}
{{- $isIngestor := eq .role "ingestor" -}}
image: {{ include "onboarding-processor.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
args: [run, {{ .role }}]
envFrom:
  - configMapRef:
      name: {{ include "onboarding-processor.fullname" $root }}-settings
env:
  - name: PROCESSOR_SECRETS_DIRECTORY
    value: /etc/processor/secrets
  - name: PROCESSOR_WORKFLOWS__FILE
    value: /etc/processor/workflows/workflows.yaml
  - name: PROCESSOR_STATE__DIRECTORY
    value: /var/lib/processor
  {{- with include "onboarding-processor.strimzi.env" . }}
  {{- . | nindent 2 }}
  {{- end }}
ports:
  {{- if $isIngestor }}
  - name: webhook
    containerPort: {{ $root.Values.settings.webhook.port }}
  {{- end }}
  - name: ops
    containerPort: {{ $root.Values.settings.ops.port }}
# Neither of the first two looks at brokers or the API: an outage of those restarts no pod.
startupProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet: { path: /livez, port: ops }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: ops }
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- if and $isIngestor $values.preStopSleepSeconds }}
lifecycle:
  preStop:
    sleep: { seconds: {{ $values.preStopSleepSeconds }} }
{{- end }}
# A start that a setting stopped says why in `kubectl describe pod`.
terminationMessagePolicy: FallbackToLogsOnError
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $root.Values.containerSecurityContext | nindent 2 }}
volumeMounts:
  - name: workflows
    mountPath: /etc/processor/workflows
    readOnly: true
  - name: secrets
    mountPath: /etc/processor/secrets
    readOnly: true
  - name: tmp
    mountPath: /tmp
  {{- if not $isIngestor }}
  - name: state
    mountPath: /var/lib/processor
  {{- end }}
  {{- with include "onboarding-processor.strimzi.volumeMounts" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $root.Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "onboarding-processor.volumes" -}}
{{- $root := .root }}
{{- $workflows := $root.Values.workflows -}}
- name: workflows
  configMap:
    {{- if $workflows.existingConfigMap }}
    name: {{ $workflows.existingConfigMap }}
    items: [{ key: {{ $workflows.key | quote }}, path: workflows.yaml }]
    {{- else }}
    name: {{ include "onboarding-processor.fullname" $root }}-workflows
    {{- end }}
- name: secrets
  projected:
    defaultMode: 0440 # readable by fsGroup
    sources:
      {{- range $section, $secret := $root.Values.secrets }}
      {{- if $secret.existingSecret }}
      - secret:
          name: {{ $secret.existingSecret }}
          items:
            {{- include "onboarding-processor.secretItems" (dict "section" $section "keys" $secret.keys) | trim | nindent 12 }}
      {{- end }}
      {{- end }}
      {{- range $secret := $root.Values.moreSecrets }}
      - secret:
          name: {{ $secret.existingSecret }}
          items:
            {{- range $variable, $key := $secret.keys }}
            - key: {{ $key }}
              path: {{ $variable }}
            {{- end }}
      {{- end }}
      {{- with include "onboarding-processor.strimzi.secretSources" . }}
      {{- . | nindent 6 }}
      {{- end }}
- name: tmp
  emptyDir: { sizeLimit: 64Mi }
{{- if ne .role "ingestor" }}
- name: state
  emptyDir: { sizeLimit: {{ (index $root.Values .role).stateSizeLimit }} }
{{- end }}
{{- with include "onboarding-processor.strimzi.volumes" . }}
{{ . }}
{{- end }}
{{- with $root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The PodDisruptionBudget of a role; with one replica it would only keep nodes from being drained. Takes {root, role}. */}}
{{- define "onboarding-processor.podDisruptionBudget" -}}
{{- if gt (int (index .root.Values .role).replicas) 1 -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "onboarding-processor.fullname" .root }}-{{ .role }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "onboarding-processor.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  # A pod that is not ready is no loss.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "onboarding-processor.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end }}
