{{- /* The labels of every object of this chart. */ -}}
{{- define "azaion-crds.labels" -}}
app.kubernetes.io/name: azaion-crds
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: kinds
app.kubernetes.io/part-of: azaion
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
