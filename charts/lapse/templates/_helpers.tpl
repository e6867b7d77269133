{{/* Names and labels. All take the chart's own scope. */}}
{{- define "lapse.name" -}}
{{- default "lapse" .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "lapse.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "lapse.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "lapse.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lapse.labels" -}}
app.kubernetes.io/name: {{ include "lapse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: lapse
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lapse.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) }}
{{- end -}}
{{- end -}}

{{/* A number as YAML had it, without an exponent; anything else as it is. */}}
{{- define "lapse.text" -}}
{{- if kindIs "float64" . -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{/* "80,443,8000-8099" */}}
{{- define "lapse.list" -}}
{{- $texts := list -}}
{{- range . -}}{{- $texts = append $texts (include "lapse.text" .) -}}{{- end -}}
{{- join "," $texts -}}
{{- end -}}

{{/* Puts the chart's own scope into .result.scope: that of .root, or of the subchart of .root that has the description. */}}
{{- define "lapse.findScope" -}}
{{- if .root.Files.Get "files/sidecar.yaml" -}}
{{- $_ := set .result "scope" .root -}}
{{- else -}}
{{- range $name, $scope := .root.Subcharts -}}
{{- if $scope.Files.Get "files/sidecar.yaml" -}}{{- $_ := set $.result "scope" $scope -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if not .result.scope -}}
{{- fail "lapse: give the chart's own scope: {{ include \"lapse.initContainers\" . }} at the top of a template, with lapse among the dependencies" -}}
{{- end -}}
{{- end -}}

{{/* The ConfigMap of documents that pods mount; empty: none. As a part of another chart the timeouts are such a document. */}}
{{- define "lapse.configMap" -}}
{{- if .Values.documents.configMap -}}
{{ .Values.documents.configMap }}
{{- else if or .Values.documents.inline (and (not .Chart.IsRoot) .Values.timeouts) -}}
{{ include "lapse.fullname" . }}
{{- end -}}
{{- end -}}

{{/* What is given for each flag, as JSON: {"close-wait-timeout": ["1h"]}. The chart installed by itself has no ConfigMap where its
     pods are, so there the timeouts are flags, which set the same level. */}}
{{- define "lapse.given" -}}
{{- $v := .Values -}}
{{- $given := dict -}}
{{- $rows := dict "close-wait-timeout" $v.closeWaitTimeout "log-level" $v.log.level "log-format" $v.log.format
      "inbound-ports" (include "lapse.list" $v.inboundPorts) "skip-inbound-ports" (include "lapse.list" $v.skipInboundPorts)
      "skip-outbound-ports" (include "lapse.list" $v.skipOutboundPorts) "skip-subnets" (join "," $v.skipSubnets)
      "opaque-ports" (include "lapse.list" $v.opaquePorts) -}}
{{- range $flag, $value := $rows -}}{{- if $value -}}{{- $_ := set $given $flag (list $value) -}}{{- end -}}{{- end -}}
{{- if $v.log.access -}}{{- $_ := set $given "access-log" (list "true") -}}{{- end -}}
{{- if $v.log.paths -}}{{- $_ := set $given "log-paths" (list "true") -}}{{- end -}}
{{- $conntrack := list -}}
{{- range $state, $value := $v.conntrackTimeouts -}}{{- $conntrack = append $conntrack (printf "%s=%s" $state $value) -}}{{- end -}}
{{- if $conntrack -}}{{- $_ := set $given "conntrack-timeout" $conntrack -}}{{- end -}}
{{- if .Chart.IsRoot -}}
{{- range $name, $value := $v.timeouts -}}
{{- $_ := set $given (printf "timeout-%s" (kebabcase $name)) (list $value) -}}
{{- end -}}
{{- end -}}
{{- $known := include "lapse.description" . | fromYaml -}}
{{- range $flag, $value := $v.flags -}}
{{- if not (or (hasKey (index $known.flags "lapse-init") $flag) (hasKey (index $known.flags "lapse-proxy") $flag)) -}}
{{- fail (printf "lapse: flags.%s: neither lapse-init nor lapse-proxy takes it in a pod; there are %s" $flag
      (concat (keys (index $known.flags "lapse-init")) (keys (index $known.flags "lapse-proxy")) | uniq | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $pattern := index $known.values (default (index (index $known.flags "lapse-proxy") $flag) (index (index $known.flags "lapse-init") $flag)) -}}
{{- $text := include "lapse.text" $value -}}
{{- if not (regexMatch (printf "^(?:%s)$" $pattern) $text) -}}
{{- fail (printf "lapse: flags.%s: %q is not accepted; it must match %s" $flag $text $pattern) -}}
{{- end -}}
{{- $_ := set $given $flag (list $text) -}}
{{- end -}}
{{- $given | toJson -}}
{{- end -}}

{{/* The description, filled in. */}}
{{- define "lapse.description" -}}
{{- .Files.Get "files/sidecar.yaml" | replace "PROXY_UID" (include "lapse.text" .Values.proxyUid) | replace "ADMIN_PORT" (include "lapse.text" .Values.admin.port)
      | replace "CONFIG_MAP" (include "lapse.configMap" . | default "none") -}}
{{- end -}}

{{/* The flags of a container (.scope, .container) by name, as a JSON list of {flag, key, linkerd, pattern, arguments}: the annotations
     that set it, "" where none does, what their value must be, and the arguments without one. */}}
{{- define "lapse.rows" -}}
{{- $known := include "lapse.description" .scope | fromYaml -}}
{{- $given := include "lapse.given" .scope | fromJson -}}
{{- $kinds := deepCopy (index $known.flags .container) -}}
{{- $live := dict -}}
{{- if eq .container "lapse-proxy" -}}
{{- range $known.timeouts -}}
{{- $_ := set $kinds (printf "timeout-%s" .) "duration" -}}
{{- $_ := set $live (printf "timeout-%s" .) true -}}
{{- end -}}
{{- end -}}
{{- $linkerd := dict -}}
{{- range $key, $flag := $known.linkerd -}}{{- $_ := set $linkerd $flag $key -}}{{- end -}}
{{- $rows := list -}}
{{- range $flag := keys $kinds | sortAlpha -}}
{{- $arguments := list -}}
{{- range index $given $flag -}}{{- $arguments = append $arguments (printf "--%s=%s" $flag .) -}}{{- end -}}
{{- $rows = append $rows (dict "flag" $flag "key" (ternary "" (printf "lapse.proxy/%s" $flag) (hasKey $live $flag))
      "linkerd" (default "" (index $linkerd $flag)) "pattern" (printf "^(?:%s)$" (index $known.values (index $kinds $flag)))
      "arguments" $arguments) -}}
{{- end -}}
{{- $rows | toJson -}}
{{- end -}}

{{/* The fixed arguments of a container (.scope, .container) as a JSON list. */}}
{{- define "lapse.fixedArguments" -}}
{{- $known := include "lapse.description" .scope | fromYaml -}}
{{- $v := .scope.Values -}}
{{- $arguments := index $known.arguments .container -}}
{{- if eq .container "lapse-proxy" -}}
{{- $arguments = concat $arguments (index $known.arguments $v.kind) -}}
{{- if include "lapse.configMap" .scope -}}{{- $arguments = append $arguments $known.documents.argument -}}{{- end -}}
{{- end -}}
{{- $kept := list -}}
{{- range $arguments -}}
{{- if not (and (hasPrefix "--timeout-drain-least=" .) (hasKey $v.timeouts "drainLeast")) -}}{{- $kept = append $kept . -}}{{- end -}}
{{- end -}}
{{- $kept | toJson -}}
{{- end -}}

{{/* The two containers (.scope, .init and .proxy their arguments) as JSON: {"init": …, "proxy": …}. */}}
{{- define "lapse.containerMaps" -}}
{{- $v := .scope.Values -}}
{{- $known := include "lapse.description" .scope | fromYaml -}}
{{- $init := index $known "lapse-init" -}}
{{- $proxy := merge (index $known "lapse-proxy") (index $known $v.kind) -}}
{{- $_ := set $init "args" .init -}}
{{- $_ := set $proxy "args" .proxy -}}
{{- range $container := list $init $proxy -}}
{{- $_ := set $container "image" (include "lapse.image" $.scope) -}}
{{- with $v.image.pullPolicy -}}{{- $_ := set $container "imagePullPolicy" . -}}{{- end -}}
{{- end -}}
{{- with $v.resources -}}{{- $_ := set $proxy "resources" . -}}{{- end -}}
{{- with $v.initResources -}}{{- $_ := set $init "resources" . -}}{{- end -}}
{{- if include "lapse.configMap" .scope -}}
{{- $_ := set $proxy "volumeMounts" (append $proxy.volumeMounts $known.documents.mount) -}}
{{- end -}}
{{- dict "init" $init "proxy" $proxy | toJson -}}
{{- end -}}

{{/* The volumes, as a JSON list. */}}
{{- define "lapse.volumeMaps" -}}
{{- $known := include "lapse.description" . | fromYaml -}}
{{- $volumes := $known.volumes -}}
{{- if include "lapse.configMap" . -}}
{{- $volumes = append $volumes $known.documents.volume -}}
{{- end -}}
{{- $volumes | toJson -}}
{{- end -}}

{{/* The ports that lapse-proxy has, as a JSON list: outbound, inbound, admin. */}}
{{- define "lapse.ports" -}}
{{- $known := include "lapse.description" . | fromYaml -}}
{{- $flags := .Values.flags -}}
{{- list (int64 (default (index $known.ports "outbound-port") (index $flags "outbound-port")))
         (int64 (default (index $known.ports "inbound-port") (index $flags "inbound-port"))) (int64 .Values.admin.port) | toJson -}}
{{- end -}}
