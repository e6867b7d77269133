//go:build tools

// What is built as it is: h2spec, which go.mod and go.sum pin.
package tools

import _ "github.com/summerwind/h2spec/cmd/h2spec"
