{{- define "fairlead.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}-{{ .Values.program }}
{{- end }}
{{- define "fairlead.labels" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .Values.program }}
{{- end }}
