{{- define "surefoot.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* At most 40 characters: the longest suffix still makes a DNS label, and a CronJob's name has at most 52. */}}
{{- define "surefoot.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "surefoot.serviceAccount" -}}
{{- default (ternary (include "surefoot.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- /* What never changes: the selectors of the Deployment, the Service and the policies are made of it. */}}
{{- define "surefoot.selector" -}}
app.kubernetes.io/name: {{ include "surefoot.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "surefoot.labels" -}}
{{ include "surefoot.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "surefoot.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- define "surefoot.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .Values.user | int64 }}
runAsGroup: {{ .Values.user | int64 }}
fsGroup: {{ .Values.user | int64 }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "surefoot.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* The features that are on, as the controller's --features names them. */}}
{{- define "surefoot.features" -}}
{{- $on := list "core" }}
{{- range $name, $is := .Values.features }}
{{- if $is }}{{ $on = append $on $name }}{{ end }}
{{- end }}
{{- join "," $on }}
{{- end }}

{{- /* What can change while the controller runs: rollout/runtime/settings.py, LIVE. */}}
{{- define "surefoot.config" -}}
logLevel: {{ .Values.controller.logLevel }}
workers: {{ .Values.controller.workers | int64 }}
analysis:
  providers: {{ toJson .Values.analysis.providers }}
  namespaces: {{ toJson .Values.analysis.namespaces }}
  measurements: {{ .Values.analysis.measurements | int64 }}
  labelledSecrets: {{ .Values.analysis.labelledSecrets }}
metrics:
  maxObjects: {{ .Values.metrics.maxObjects | int64 }}
{{- end }}

{{- /* The names of the roles to make, as a JSON list: what is always needed, then the features that are on. */}}
{{- define "surefoot.roles" -}}
{{- $on := list "core" }}
{{- range $name := list "decisions" "workloadRef" "istio" "gateway" "events" "jobs" "secrets" "loadTest" "chaos" "chaosNetwork" }}
{{- if index $.Values.features $name }}{{ $on = append $on $name }}{{ end }}
{{- end }}
{{- if .Values.rbac.kubernetesMetric }}{{ $on = append $on "kubernetesMetric" }}{{ end }}
{{- $on | toJson }}
{{- end }}

{{- /* Stops the installation where values exclude each other. */}}
{{- define "surefoot.check" -}}
{{- if and .Values.features.chaosNetwork (not .Values.features.chaos) }}
{{- fail "features.chaosNetwork needs features.chaos" }}
{{- end }}
{{- if and .Values.rbac.secretNames (not .Values.features.secrets) }}
{{- fail "rbac.secretNames needs features.secrets" }}
{{- end }}
{{- end }}
