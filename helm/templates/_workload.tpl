{{/* The Deployment or StatefulSet of a workload. Takes {root, role}. */}}
{{- define "onboarding-processor.workload" -}}
{{- $root := .root }}
{{- $values := index $root.Values .role }}
{{- $isPersistent := include "onboarding-processor.isPersistent" . -}}
apiVersion: apps/v1
kind: {{ include "onboarding-processor.workloadKind" . }}
metadata:
  name: {{ include "onboarding-processor.workloadName" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "onboarding-processor.labels" . | nindent 4 }}
spec:
  {{- if not (include "onboarding-processor.isAutoscaled" .) }}
  replicas: {{ $values.replicas }}
  {{- end }}
  {{- with $values.minReadySeconds }}
  minReadySeconds: {{ . }}
  {{- end }}
  {{- with and (not $isPersistent) $values.progressDeadlineSeconds }}
  progressDeadlineSeconds: {{ . }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "onboarding-processor.selectorLabels" . | nindent 6 }}
  {{- if $isPersistent }}
  serviceName: {{ include "onboarding-processor.workloadName" . }}
  # Pods owe each other nothing, so they start together; a rollout still replaces one after the other.
  podManagementPolicy: Parallel
  updateStrategy:
    type: RollingUpdate
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ $values.persistence.whenDeleted }}
    whenScaled: {{ $values.persistence.whenScaled }}
  volumeClaimTemplates:
    {{- include "onboarding-processor.stateClaim" . | nindent 4 }}
  {{- else }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      {{- if eq .role "ingestor" }}
      # Webhooks are always taken: the provider repeats one for about a minute only.
      maxUnavailable: 0
      maxSurge: 1
      {{- else }}
      # One at a time and none beside it, so that partitions move once for each pod.
      maxUnavailable: 1
      maxSurge: 0
      {{- end }}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "onboarding-processor.podLabels" . | nindent 8 }}
      annotations:
        # A pod reads both at its start, so a change of either makes new pods. Secrets it reads again by itself.
        checksum/settings: {{ include "onboarding-processor.variables" $root | sha256sum }}
        checksum/workflows: {{ $root.Values.workflows.catalogue | sha256sum }}
        {{- with $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "onboarding-processor.podBasics" $root | nindent 6 }}
      terminationGracePeriodSeconds: {{ include "onboarding-processor.graceSeconds" . }}
      containers:
        - name: {{ .role }}
          {{- include "onboarding-processor.container" . | nindent 10 }}
      volumes:
        {{- include "onboarding-processor.volumes" . | nindent 8 }}
      {{- include "onboarding-processor.placement" . | nindent 6 }}
{{- end }}

{{/* The volume of each pod of a StatefulSet. Takes {root, role}. */}}
{{- define "onboarding-processor.stateClaim" -}}
{{- $persistence := (index .root.Values .role).persistence -}}
# Both words are what the cluster fills in, so that nothing differs where Argo CD or a server-side apply compares.
- apiVersion: v1
  kind: PersistentVolumeClaim
  metadata:
    name: state
    labels:
      {{- include "onboarding-processor.selectorLabels" . | nindent 6 }}
  spec:
    accessModes:
      {{- toYaml $persistence.accessModes | nindent 6 }}
    {{- with $persistence.storageClass }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests:
        storage: {{ $persistence.size }}
{{- end }}

{{/* What runs in the pods of a workload. Takes {root, role}. */}}
{{- define "onboarding-processor.container" -}}
{{- $root := .root }}
{{- $values := index $root.Values .role }}
{{- $takesWebhooks := eq .role (include "onboarding-processor.webhookWorkload" $root) -}}
{{- include "onboarding-processor.containerBasics" $root }}
args: {{ eq .role "all" | ternary (list "run") (list "run" .role) | toJson }}
envFrom:
  - configMapRef:
      name: {{ include "onboarding-processor.fullname" $root }}-settings
env:
  {{- include "onboarding-processor.places" . | nindent 2 }}
  - name: PROCESSOR_STATE__DIRECTORY
    value: /var/lib/processor
  {{- if include "onboarding-processor.isPersistent" . }}
  # The pod's name comes back with its volume: a successor ends its predecessor's open transaction at once.
  - name: PROCESSOR_KAFKA__INSTANCE_NAME
    valueFrom:
      fieldRef: { fieldPath: metadata.name }
  {{- end }}
ports:
  {{- if $takesWebhooks }}
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
{{- if and $takesWebhooks $values.preStopSleepSeconds }}
lifecycle:
  preStop:
    sleep: { seconds: {{ $values.preStopSleepSeconds }} }
{{- end }}
{{- with include "onboarding-processor.resources" . | fromYaml }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "onboarding-processor.mounts" . | nindent 2 }}
  {{- if ne .role "ingestor" }}
  - name: state
    mountPath: /var/lib/processor
  {{- end }}
{{- end }}

{{/* The resources of a workload's container, as YAML: the disk that its state may fill is asked for. Takes {root, role}. */}}
{{- define "onboarding-processor.resources" -}}
{{- $values := index .root.Values .role }}
{{- $resources := deepCopy ($values.resources | default dict) }}
{{- $isOnDisk := ne ((.root.Values.settings.state | default dict).store | default "rocksdb") "memory" }}
{{- if and (ne .role "ingestor") $isOnDisk (not (include "onboarding-processor.isPersistent" .)) }}
{{- $_ := set $resources "requests" (merge ($resources.requests | default dict) (dict "ephemeral-storage" $values.stateSizeLimit)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* The volumes of a workload. Takes {root, role}. */}}
{{- define "onboarding-processor.volumes" -}}
{{- include "onboarding-processor.commonVolumes" . }}
{{- if and (ne .role "ingestor") (not (include "onboarding-processor.isPersistent" .)) }}
- name: state
  emptyDir: { sizeLimit: {{ (index .root.Values .role).stateSizeLimit }} }
{{- end }}
{{- end }}

{{/* Where the pods of a workload may run. Takes {root, role}. */}}
{{- define "onboarding-processor.placement" -}}
{{- $values := index .root.Values .role }}
{{- $spread := list }}
{{- if kindIs "slice" $values.topologySpreadConstraints }}
{{- $spread = $values.topologySpreadConstraints }}
{{- else }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
{{- $spread = append $spread (dict "topologyKey" . "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway") }}
{{- end }}
{{- end }}
{{- $revision := include "onboarding-processor.isPersistent" . | empty | ternary "pod-template-hash" "controller-revision-hash" }}
{{- $own := dict "labelSelector" (dict "matchLabels" (include "onboarding-processor.selectorLabels" . | fromYaml)) "matchLabelKeys" (list $revision) -}}
topologySpreadConstraints:
  {{- range $spread }}
  {{- hasKey . "labelSelector" | ternary . (merge (deepCopy .) $own) | list | toYaml | nindent 2 }}
  {{- else }} []
  {{- end }}
{{- include "onboarding-processor.nodes" $values }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The PodDisruptionBudget of a workload; where there is one pod it could keep nothing running. Takes {root, role}. */}}
{{- define "onboarding-processor.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "onboarding-processor.workloadName" . }}
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

{{/* The headless Service that a StatefulSet belongs to. Takes {root, role}. */}}
{{- define "onboarding-processor.headlessService" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "onboarding-processor.workloadName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "onboarding-processor.labels" . | nindent 4 }}
spec:
  clusterIP: None
  selector:
    {{- include "onboarding-processor.selectorLabels" . | nindent 4 }}
  ports:
    - name: ops
      port: {{ .root.Values.settings.ops.port }}
      targetPort: ops
      appProtocol: http
{{- end }}
