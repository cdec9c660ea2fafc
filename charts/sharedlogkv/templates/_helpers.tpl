{{/* The name of everything that the chart makes: the release's, with the chart's where that does not say it yet. */}}
{{- define "sharedlogkv.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 38 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* What selects the operator's pod: it never changes over the life of a release. */}}
{{- define "sharedlogkv.selectorLabels" -}}
app.kubernetes.io/name: sharedlogkv-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sharedlogkv.labels" -}}
{{ include "sharedlogkv.selectorLabels" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: sharedlogkv
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The operator's image: a digest says more than a tag, a tag more than the version of the chart. */}}
{{- define "sharedlogkv.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sharedlogkv.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "sharedlogkv.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do, in the cluster or in each namespace that it serves; no more than its code calls. */}}
{{- define "sharedlogkv.rules" -}}
{{ include "sharedlogkv.storeRules" . }}
# Owner references block the owner's deletion; clusters may demand this right for that.
- apiGroups: [sharedlog.dev]
  resources: [sharedlogkvs/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create, patch]
# The secret that a store's replicas share. Rights can't be bound to names that are not known beforehand.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}

{{/* Of these, what concerns the stores themselves, and nothing that belongs to them. */}}
{{- define "sharedlogkv.storeRules" -}}
- apiGroups: [sharedlog.dev]
  resources: [sharedlogkvs]
  verbs: [get, list, watch, patch]
- apiGroups: [sharedlog.dev]
  resources: [sharedlogkvs/status]
  verbs: [patch]
{{- end -}}
