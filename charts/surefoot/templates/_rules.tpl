{{- /*
What each role allows. "surefoot.rules.<role>": in namespaces; "surefoot.clusterRules.<role>": kinds without a
namespace. No wildcard; no list or watch of Secrets. docs/install.md says why; tests/chart compares with what is used.
*/}}

{{- define "surefoot.rules.core" -}}
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [list, watch, patch]
- apiGroups: [argoproj.io]
  resources: [rollouts/status]
  verbs: [patch]
- apiGroups: [argoproj.io] # children that block their owner's deletion, where OwnerReferencesPermissionEnforcement is on
  resources: [rollouts/finalizers]
  verbs: [update]
- apiGroups: [argoproj.io]
  resources: [analysisruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [argoproj.io]
  resources: [analysistemplates]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch, patch]
- apiGroups: [""] # restarts
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
{{- end }}

{{- define "surefoot.clusterRules.core" -}}
- apiGroups: [argoproj.io]
  resources: [clusteranalysistemplates]
  verbs: [list, watch]
- apiGroups: [surefoot.dev] # a switch may hold releases
  resources: [chaosswitches]
  verbs: [list, watch]
{{- end }}

{{- define "surefoot.rules.decisions" -}}
- apiGroups: [surefoot.dev]
  resources: [decisionrecords]
  verbs: [get, create, patch]
{{- end }}

{{- define "surefoot.rules.workloadRef" -}}
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [""]
  resources: [podtemplates]
  verbs: [get]
{{- end }}

{{- define "surefoot.rules.istio" -}}
- apiGroups: [networking.istio.io]
  resources: [virtualservices, destinationrules]
  verbs: [get, list, watch, patch]
{{- end }}

{{- define "surefoot.rules.gateway" -}}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, patch]
{{- end }}

{{- define "surefoot.rules.events" -}}
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- end }}

{{- define "surefoot.rules.jobs" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}

{{- define "surefoot.rules.secrets" -}}
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.rbac.secretNames }}
  resourceNames: {{ toJson . }}
  {{- end }}
  verbs: [get]
{{- end }}

{{- define "surefoot.rules.loadTest" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, patch]
- apiGroups: [""] # the values of a test's secret arguments, for as long as it lasts
  resources: [secrets]
  verbs: [create, delete]
- apiGroups: [""] # the port of a test's master
  resources: [services]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [argoproj.io] # whose Service the target's role is
  resources: [rollouts]
  verbs: [get]
{{- end }}

{{- define "surefoot.rules.chaos" -}}
- apiGroups: [surefoot.dev]
  resources: [chaosruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [surefoot.dev]
  resources: [chaostemplates, chaosschedules]
  verbs: [get, list, watch]
- apiGroups: [surefoot.dev]
  resources: [chaosruns/status, chaosschedules/status]
  verbs: [patch]
- apiGroups: [surefoot.dev] # as with rollouts/finalizers
  resources: [chaosschedules/finalizers]
  verbs: [update]
- apiGroups: [argoproj.io]
  resources: [analysisruns/finalizers]
  verbs: [update]
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [list, watch]
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale, replicasets/scale]
  verbs: [patch]
- apiGroups: [argoproj.io]
  resources: [rollouts/scale]
  verbs: [patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.istio.io]
  resources: [envoyfilters]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.envoyproxy.io]
  resources: [backendtrafficpolicies]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}

{{- define "surefoot.clusterRules.chaos" -}}
- apiGroups: [surefoot.dev]
  resources: [chaosswitches]
  verbs: [get]
- apiGroups: [surefoot.dev]
  resources: [chaosswitches/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [namespaces, nodes]
  verbs: [list, watch]
- apiGroups: [""] # the mesh's own settings, in istio-system
  resources: [configmaps]
  resourceNames: [istio]
  verbs: [list, watch]
{{- end }}

{{- define "surefoot.rules.chaosNetwork" -}}
- apiGroups: [""]
  resources: [pods/ephemeralcontainers]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}

{{- define "surefoot.rules.kubernetesMetric" -}}
{{- range .Values.rbac.kubernetesMetric }}
- apiGroups: {{ toJson .apiGroups }}
  resources: {{ toJson .resources }}
  verbs: [list]
{{- end }}
{{- end }}

{{- define "surefoot.rules.reaper" -}}
- apiGroups: [networking.istio.io]
  resources: [envoyfilters]
  verbs: [list, delete]
- apiGroups: [gateway.envoyproxy.io]
  resources: [backendtrafficpolicies]
  verbs: [list, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, delete]
- apiGroups: [surefoot.dev]
  resources: [chaosruns]
  verbs: [list]
{{- end }}

{{- /* Every name of a role has an entry of both kinds, so that `include` always finds one. */}}
{{- define "surefoot.clusterRules.decisions" }}{{ end }}
{{- define "surefoot.clusterRules.workloadRef" }}{{ end }}
{{- define "surefoot.clusterRules.istio" }}{{ end }}
{{- define "surefoot.clusterRules.gateway" }}{{ end }}
{{- define "surefoot.clusterRules.events" }}{{ end }}
{{- define "surefoot.clusterRules.jobs" }}{{ end }}
{{- define "surefoot.clusterRules.secrets" }}{{ end }}
{{- define "surefoot.clusterRules.loadTest" }}{{ end }}
{{- define "surefoot.clusterRules.chaosNetwork" }}{{ end }}
{{- define "surefoot.clusterRules.kubernetesMetric" }}{{ end }}
{{- define "surefoot.clusterRules.reaper" }}{{ end }}

{{- /* The Lease of the election. What is created has no name yet, so that verb cannot be limited to one. */}}
{{- /* Only in the release's namespace: the configuration, its Secret (never listed or watched), what was told. */}}
{{- define "surefoot.rules.notifications" -}}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [argo-rollouts-notification-configmap, surefoot-notifications-told]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [surefoot-notifications-told]
  verbs: [patch]
- apiGroups: [""] # a name cannot be asked for in a creation
  resources: [configmaps]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [argo-rollouts-notification-secret]
  verbs: [get]
{{- end }}

{{- define "surefoot.rules.leases" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "surefoot.lease" . }}]
  verbs: [get, update]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
{{- end }}

{{- /* Whether another controller of argoproj.io is at work: its Lease, wherever it is. */}}
{{- define "surefoot.clusterRules.leases" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "surefoot.otherLease" . }}]
  verbs: [get, list]
{{- end }}

{{- /* The same in a namespace: a controller that works in one only has its Lease there. */}}
{{- define "surefoot.rules.otherLeases" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "surefoot.otherLease" . }}]
  verbs: [get]
{{- end }}

{{- define "surefoot.otherLease" -}}
argo-rollouts-controller-lock{{ with .Values.instanceId }}-{{ . }}{{ end }}
{{- end }}

{{- define "surefoot.lease" -}}
surefoot-controller{{ with .Values.instanceId }}-{{ . }}{{ end }}
{{- end }}

{{- /* A role and its binding. root, kind (Role, ClusterRole), name, namespace (of a Role), account, rules. */}}
{{- define "surefoot.role" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "surefoot.labels" .root | nindent 4 }}
rules:
{{ .rules }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ .kind }}Binding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . }}
  {{- end }}
  labels:
    {{- include "surefoot.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ .kind }}
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ .account }}
  namespace: {{ .root.Release.Namespace }}
{{- end }}
