{{/* For the pods of other charts. With lapse among the dependencies, and its values under `lapse:`, in a pod's spec:

     initContainers:
     {{- include "lapse.initContainers" . | nindent 6 }}       # first
     …
     {{- include "lapse.lastInitContainers" . | nindent 6 }}   # last
     containers:
     {{- include "lapse.containers" . | nindent 6 }}           # first
     volumes:
     {{- include "lapse.volumes" . | nindent 6 }}
     metadata.annotations:
     {{- include "lapse.annotations" . | nindent 8 }}

     Each is empty where the kind of sidecar has nothing there. */}}

{{/* The arguments of a container (.scope, .container) as a JSON list: what the annotations given for the pod say stands above the values. */}}
{{- define "lapse.arguments" -}}
{{- $annotations := .scope.Values.podAnnotations -}}
{{- $arguments := include "lapse.fixedArguments" . | fromJsonArray -}}
{{- $grace := int64 .scope.Values.terminationGracePeriodSeconds -}}
{{- range $row := include "lapse.rows" . | fromJsonArray -}}
{{- $value := dict -}}
{{- range $key := list $row.linkerd $row.key -}}
{{- if and $key (hasKey $annotations $key) -}}
{{- $text := include "lapse.text" (index $annotations $key) -}}
{{- if regexMatch $row.pattern $text -}}{{- $_ := set $value "text" $text -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if hasKey $value "text" -}}
{{- $arguments = append $arguments (printf "--%s=%s" $row.flag $value.text) -}}
{{- else if and (eq $row.flag "timeout-drain") (not $row.arguments) (not (hasKey $.scope.Values.timeouts "drain")) -}}
{{- $arguments = append $arguments (printf "--timeout-drain=%s" (ternary (printf "%ds" (sub $grace 2)) "500ms" (gt $grace 2))) -}}
{{- else -}}
{{- $arguments = concat $arguments $row.arguments -}}
{{- end -}}
{{- end -}}
{{- $arguments | toJson -}}
{{- end -}}

{{- define "lapse.plainContainers" -}}
{{- include "lapse.containerMaps" (dict "scope" . "init" (include "lapse.arguments" (dict "scope" . "container" "lapse-init") | fromJsonArray)
      "proxy" (include "lapse.arguments" (dict "scope" . "container" "lapse-proxy") | fromJsonArray)) -}}
{{- end -}}

{{- define "lapse.initContainers" -}}
{{- $found := dict -}}{{- include "lapse.findScope" (dict "root" . "result" $found) -}}
{{- if eq $found.scope.Values.kind "native" -}}
{{- $containers := include "lapse.plainContainers" $found.scope | fromJson -}}
{{- list $containers.init $containers.proxy | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "lapse.lastInitContainers" -}}
{{- $found := dict -}}{{- include "lapse.findScope" (dict "root" . "result" $found) -}}
{{- if eq $found.scope.Values.kind "ordinary" -}}
{{- $containers := include "lapse.plainContainers" $found.scope | fromJson -}}
{{- list $containers.init | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "lapse.containers" -}}
{{- $found := dict -}}{{- include "lapse.findScope" (dict "root" . "result" $found) -}}
{{- if eq $found.scope.Values.kind "ordinary" -}}
{{- $containers := include "lapse.plainContainers" $found.scope | fromJson -}}
{{- list $containers.proxy | toYaml -}}
{{- end -}}
{{- end -}}

{{- define "lapse.volumes" -}}
{{- $found := dict -}}{{- include "lapse.findScope" (dict "root" . "result" $found) -}}
{{- include "lapse.volumeMaps" $found.scope | fromJsonArray | toYaml -}}
{{- end -}}

{{/* The annotations given for the pod, and the one that keeps the cluster's own injection away. */}}
{{- define "lapse.annotations" -}}
{{- $found := dict -}}{{- include "lapse.findScope" (dict "root" . "result" $found) -}}
{{- merge (dict "lapse.proxy/inject" "disabled") $found.scope.Values.podAnnotations | toYaml -}}
{{- end -}}
