{{- define "fms.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which pods of a component are found, which never change. (dict "root" $ "component" "worker") */}}
{{- define "fms.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "fms.labels" -}}
{{ include "fms.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (dict "root" $ "component" "worker"): name, namespace and labels of an object. */}}
{{- define "fms.metadata" -}}
name: {{ include "fms.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "fms.labels" . | nindent 2 }}
{{- end -}}

{{/* (dict "root" $ "sql" false) */}}
{{- define "fms.image" -}}
{{- $image := .root.Values.image -}}
image: {{ printf "%s:%s" (ternary $image.sqlRepository $image.repository .sql) ($image.tag | default .root.Chart.AppVersion) }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end -}}

{{/* The name of the service account of a component, by its key in the values. */}}
{{- define "fms.serviceAccount" -}}
{{ include "fms.fullname" .root }}-{{ .account }}
{{- end -}}

{{/* What every pod may not do, and where it may run. (dict "root" $ "component" … "account" …) */}}
{{- define "fms.pod" -}}
serviceAccountName: {{ include "fms.serviceAccount" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fms.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "fms.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}

{{- define "fms.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* The environment that all containers have, and after it that of `env`, which takes precedence. */}}
{{- define "fms.env" -}}
{{- $own := dict "AWS_REGION" .root.Values.aws.region "RUST_LOG" .root.Values.log -}}
{{- range $name, $value := merge (deepCopy .env) .more $own }}
- name: {{ $name }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end -}}

{{- define "fms.envFrom" -}}
{{- with compact . }}
envFrom:
  {{- range . }}
  - secretRef: { name: {{ . }} }
  {{- end }}
{{- end }}
{{- end -}}

{{/* What commands about the lake are told by the environment. */}}
{{- define "fms.lakeEnv" -}}
FMS_LAKE_TO: {{ .Values.lake.to | quote }}
FMS_LAKE_DATABASE: {{ .Values.lake.database | quote }}
FMS_LAKE_TIMEZONE: {{ .Values.lake.timezone | quote }}
{{- end -}}

{{- define "fms.queueEnv" -}}
FMS_LAKE_QUEUE_URL: {{ .Values.lake.poller.queueUrl | quote }}
FMS_LAKE_FALLBACK_QUEUE_URL: {{ .Values.lake.poller.fallbackQueueUrl | quote }}
{{- end -}}

{{/*
A job that runs on a schedule, one at a time. Exit status 1 is a result, such as data that fails a check, which another
attempt does not change; every other failure is tried again.
(dict "root" $ "component" … "account" … "schedule" … "sql" false "args" (list …) "env" … "more" … "secrets" (list …)
"resources" … "disk" "4Gi" "config" "the name of a ConfigMap below /etc/fms/config, or empty")
*/}}
{{- define "fms.cronjob" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- include "fms.metadata" . | nindent 2 }}
spec:
  schedule: {{ .schedule | quote }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    metadata:
      labels:
        {{- include "fms.labels" . | nindent 8 }}
    spec:
      backoffLimit: 2
      podFailurePolicy:
        rules:
          - action: FailJob
            onExitCodes: { containerName: {{ .component }}, operator: In, values: [1] }
          - action: Ignore
            onPodConditions: [{ type: DisruptionTarget, status: "True" }]
      template:
        metadata:
          labels:
            {{- include "fms.labels" . | nindent 12 }}
        spec:
          {{- include "fms.pod" . | nindent 10 }}
          restartPolicy: Never
          containers:
            - name: {{ .component }}
              {{- include "fms.image" . | nindent 14 }}
              {{- with .command }}
              command: {{ toYaml . | nindent 16 }}
              {{- end }}
              args: {{ toYaml .args | nindent 16 }}
              env:
                {{- include "fms.env" . | trim | nindent 16 }}
              {{- with include "fms.envFrom" .secrets | trim }}
              {{- . | nindent 14 }}
              {{- end }}
              resources: {{ toYaml .resources | nindent 16 }}
              {{- include "fms.container" . | nindent 14 }}
              volumeMounts:
                - { name: tmp, mountPath: /tmp }
                {{- if .config }}
                - { name: config, mountPath: /etc/fms/config, readOnly: true }
                {{- end }}
          volumes:
            - name: tmp
              emptyDir: { sizeLimit: {{ .disk }} }
            {{- if .config }}
            - name: config
              configMap: { name: {{ .config }} }
            {{- end }}
{{- end -}}
