package process

import (
	"sort"
	"strings"
)

// Arguments are a program's flags, without their dashes.
type Arguments map[string]string

// With lays the user's `name=value` over the defaults. The same name given more than once is joined by commas, as K3s
// does for list flags; a user's value replaces the default, it does not add to it.
func (a Arguments) With(given []string) Arguments {
	merged, mine := Arguments{}, map[string]bool{}
	for name, value := range a {
		merged[name] = value
	}
	for _, text := range given {
		name, value, found := strings.Cut(strings.TrimLeft(text, "-"), "=")
		if !found {
			value = "true"
		}
		if mine[name] {
			value = merged[name] + "," + value
		}
		merged[name], mine[name] = value, true
	}
	return merged
}

// Flags gives the command line, sorted by name.
func (a Arguments) Flags() []string {
	flags := make([]string, 0, len(a))
	for name, value := range a {
		flags = append(flags, "--"+name+"="+value)
	}
	sort.Strings(flags)
	return flags
}
