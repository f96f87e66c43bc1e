{{/* The Job of one command. No part of a Job may change, so its name holds a hash of its pod. Takes the root. */}}
{{- define "onboarding-processor.commandName" -}}
{{- $fullname := include "onboarding-processor.shortened" (dict "name" (include "onboarding-processor.fullname" .) "most" 45) }}
{{- $pod := include "onboarding-processor.commandPod" (dict "root" . "role" "command") }}
{{- printf "%s-command-%s" $fullname (sha256sum $pod | trunc 8) }}
{{- end }}

{{/* The template of its pod. Takes {root, role}. */}}
{{- define "onboarding-processor.commandPod" -}}
{{- $values := .root.Values.command -}}
metadata:
  labels:
    {{- include "onboarding-processor.podLabels" . | nindent 4 }}
  annotations:
    # A command reads them at its start, so a change of them makes another Job.
    checksum/settings: {{ include "onboarding-processor.variables" .root | sha256sum }}
spec:
  restartPolicy: Never
  {{- include "onboarding-processor.podBasics" .root | nindent 2 }}
  {{- with include "onboarding-processor.nodes" $values | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: command
      {{- include "onboarding-processor.containerBasics" .root | nindent 6 }}
      args: {{ toJson $values.args }}
      envFrom:
        - configMapRef:
            name: {{ include "onboarding-processor.fullname" .root }}-settings
      env:
        {{- include "onboarding-processor.places" . | nindent 8 }}
        # Where a move copies the state to on its way: /tmp is too small.
        - name: TMPDIR
          value: /var/lib/processor
      resources:
        {{- $disk := dict "requests" (dict "ephemeral-storage" $values.scratchSize) }}
        {{- merge (deepCopy $values.resources) $disk | toYaml | nindent 8 }}
      volumeMounts:
        {{- include "onboarding-processor.mounts" . | nindent 8 }}
        - name: scratch
          mountPath: /var/lib/processor
        {{- if $values.filesClaim }}
        - name: files
          mountPath: /files
        {{- end }}
  volumes:
    {{- include "onboarding-processor.commonVolumes" . | nindent 4 }}
    - name: scratch
      emptyDir: { sizeLimit: {{ $values.scratchSize }} }
    {{- with $values.filesClaim }}
    - name: files
      persistentVolumeClaim: { claimName: {{ . }} }
    {{- end }}
{{- end }}

{{/* What is wrong with the command, as JSON: one sentence each. */}}
{{- define "onboarding-processor.checks.command" -}}
{{- $problems := list }}
{{- $command := .Values.command }}
{{- if and $command.enabled (not $command.args) }}
{{- $problems = append $problems "command.args is missing; write the command and its arguments, for example [topics, migrate, --to-application-id, onboarding-24]" }}
{{- end }}
{{- if and $command.enabled .Values.strimzi.users.enabled (not $command.kafkaUser) }}
{{- $problems = append $problems "command.kafkaUser is missing: no user of strimzi.users may move anything; make a KafkaUser with the rights of `processor topics acls mover setup`, and name it there" }}
{{- end }}
{{- if and $command.kafkaUser (not .Values.strimzi.users.enabled) }}
{{- $problems = append $problems "command.kafkaUser means nothing without strimzi.users.enabled; unset it" }}
{{- end }}
{{- toJson $problems }}
{{- end }}
