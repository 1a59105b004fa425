{{- /* The labels that select the pods of a component, given as (dict "root" $ "name" NAME). They never change. */ -}}
{{- define "azaion-training.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- /* All labels of an object, given as (dict "root" $ "name" NAME "component" COMPONENT). */ -}}
{{- define "azaion-training.labels" -}}
{{ include "azaion-training.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: azaion
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- /* An image reference, given as (dict "root" $ "image" VALUES): the digest decides where there is one. */ -}}
{{- define "azaion-training.image" -}}
{{- $tag := .image.tag | default .root.Chart.AppVersion -}}
{{- with .image.digest }}{{ $.image.repository }}:{{ $tag }}@{{ . }}{{ else }}{{ .image.repository }}:{{ $tag }}{{ end -}}
{{- end }}
