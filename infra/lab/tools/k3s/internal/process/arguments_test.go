package process

import (
	"slices"
	"testing"
)

func TestUserArgumentsReplaceDefaults(t *testing.T) {
	defaults := Arguments{"profiling": "false", "secure-port": "6444"}
	got := defaults.With([]string{"secure-port=7000", "--v=2", "feature-gates=A=true", "feature-gates=B=false", "flag"}).Flags()
	want := []string{"--feature-gates=A=true,B=false", "--flag=true", "--profiling=false", "--secure-port=7000", "--v=2"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if defaults["secure-port"] != "6444" {
		t.Error("the defaults were changed")
	}
}
