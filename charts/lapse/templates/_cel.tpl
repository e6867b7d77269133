{{/* A value (.value) as CEL; maps become objects of the type (.type), but those of quantities, whose keys are no names of fields. A
     text that begins with "cel:" is an expression. */}}
{{- define "lapse.cel" -}}
{{- $type := .type -}}
{{- if kindIs "map" .value -}}
{{- $parts := list -}}
{{- $free := has (last (splitList "." $type)) (list "requests" "limits") -}}
{{- range $key, $value := .value -}}
{{- if $free -}}
{{- $parts = append $parts (printf "%s: %s" (toJson $key) (toJson (include "lapse.text" $value))) -}}
{{- else -}}
{{- $parts = append $parts (printf "%s: %s" $key (include "lapse.cel" (dict "value" $value "type" (printf "%s.%s" $type $key)))) -}}
{{- end -}}
{{- end -}}
{{- printf "%s{%s}" (ternary "" $type $free) (join ", " $parts) -}}
{{- else if kindIs "slice" .value -}}
{{- $parts := list -}}
{{- range .value -}}{{- $parts = append $parts (include "lapse.cel" (dict "value" . "type" $type)) -}}{{- end -}}
{{- printf "[%s]" (join ", " $parts) -}}
{{- else if kindIs "string" .value -}}
{{- if hasPrefix "cel:" .value -}}{{- trimPrefix "cel:" .value -}}{{- else -}}{{- toJson .value -}}{{- end -}}
{{- else if kindIs "bool" .value -}}{{- .value -}}
{{- else -}}{{- int64 .value -}}
{{- end -}}
{{- end -}}

{{/* A list of arguments (.scope, .container) for a pod whose annotations are variables.notes. The last map() makes of what split()
     gives a list that a patch can hold. */}}
{{- define "lapse.celArguments" -}}
{{- $rows := list -}}
{{- range $row := include "lapse.rows" . | fromJsonArray -}}
{{- $arguments := join "\n" $row.arguments | toJson -}}
{{- if and (eq $row.flag "timeout-drain") (not $row.arguments) -}}{{- $arguments = `"--timeout-drain=" + variables.drain` -}}{{- end -}}
{{- $rows = append $rows (printf "[%s, %s, %s, %s, %s]" (toJson $row.flag) (toJson $row.key) (toJson $row.linkerd) (toJson $row.pattern) $arguments) -}}
{{- end -}}
({{ include "lapse.fixedArguments" . }} +
  [
    {{ join ",\n    " $rows }}
  ].map(f,
    f[1] in variables.notes && variables.notes[f[1]].matches(f[3]) ? "--" + f[0] + "=" + variables.notes[f[1]] :
    f[2] in variables.notes && variables.notes[f[2]].matches(f[3]) ? "--" + f[0] + "=" + variables.notes[f[2]] : f[4]
  ).filter(a, a != "")).join("\n").split("\n").map(a, a)
{{- end -}}

{{/* What keeps a pod as it is, as a JSON list of {name, expression, says}: CEL over .pod, true for a pod that is injected. */}}
{{- define "lapse.conditions" -}}
{{- $known := include "lapse.description" .scope | fromYaml -}}
{{- $pod := .pod -}}
{{- $all := printf "(%s.spec.containers + %s.spec.?initContainers.orValue([]))" $pod $pod -}}
{{- $conditions := list
  (dict "name" "own-network" "expression" (printf "!%s.spec.?hostNetwork.orValue(false)" $pod)
    "says" "it has hostNetwork: lapse-init would redirect its whole node")
  (dict "name" "linux" "expression" (printf "%s.spec.?os.?name.orValue('linux') != 'windows' && %s.spec.?nodeSelector[?'kubernetes.io/os'].orValue('linux') != 'windows'" $pod $pod)
    "says" "it is for Windows")
  (dict "name" "no-mesh" "expression" (printf "!%s.exists(c, c.name in %s)" $all (toJson $known.foreign))
    "says" "it has the sidecar of a mesh, which redirects too")
  (dict "name" "free-ports" "expression" (printf "!%s.exists(c, c.?ports.orValue([]).exists(p, p.containerPort in %s))" $all (include "lapse.ports" .scope))
    "says" (printf "one of its containers has a port of lapse-proxy's (%s)" (include "lapse.ports" .scope | fromJsonArray | join ", ")))
  (dict "name" "other-user" "expression" (printf "%s.spec.?securityContext.?runAsUser.orValue(0) != %d && !%s.exists(c, c.?securityContext.?runAsUser.orValue(0) == %d)" $pod (int64 .scope.Values.proxyUid) $all (int64 .scope.Values.proxyUid))
    "says" (printf "it runs as uid %d, which is lapse-proxy's and is not redirected" (int64 .scope.Values.proxyUid))) -}}
{{- if eq .scope.Values.kind "ordinary" -}}
{{- $conditions = append $conditions (dict "name" "stays" "expression" (printf "%s.spec.?restartPolicy.orValue('Always') == 'Always'" $pod)
    "says" "it would never end beside lapse-proxy as an ordinary container") -}}
{{- end -}}
{{- $conditions | toJson -}}
{{- end -}}
