package token

import (
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	hash := HashCA([]byte("bundle"))
	for text, want := range map[string]Token{
		"plain":                            {User: "node", Secret: "plain"},
		"  K10" + hash + "::server:abc \n": {CAHash: hash, User: "server", Secret: "abc"},
		"K10" + hash + "::node:a:b":        {CAHash: hash, User: "node", Secret: "a:b"},
	} {
		got, err := Parse(text, "node")
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestParseRefusesWithoutTellingTheSecret(t *testing.T) {
	hash := HashCA(nil)
	for _, text := range []string{"", "K10canary", "K10xyz::server:canary", "K10" + hash + "::canary", "K10" + hash + "::canary:", "K10" + hash + "::" + ":canary"} {
		_, err := Parse(text, "node")
		if err == nil {
			t.Errorf("Parse(%q) took it", text)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("Parse(%q) tells the token: %v", text, err)
		}
	}
}

func TestVerifyCA(t *testing.T) {
	mine := Token{CAHash: HashCA([]byte("mine")), User: "server", Secret: "s"}
	if err := mine.VerifyCA([]byte("mine")); err != nil {
		t.Error(err)
	}
	if mine.VerifyCA([]byte("other")) == nil {
		t.Error("another CA passed")
	}
	if back, err := Parse(mine.String(), ""); err != nil || back != mine {
		t.Errorf("%v does not come back: %v, %v", mine, back, err)
	}
}

func TestPassword(t *testing.T) {
	hash, err := HashPassword("right")
	if err != nil {
		t.Fatal(err)
	}
	again, err := HashPassword("right")
	if err != nil || again == hash {
		t.Errorf("two hashes of one password are alike: no salt (%v)", err)
	}
	if !CheckPassword(hash, "right") || CheckPassword(hash, "wrong") || CheckPassword("", "") || CheckPassword("$1:zz:15:8:1:zz", "") {
		t.Error("the check is wrong")
	}
	if first, second := must(t), must(t); len(first) != 32 || first == second {
		t.Errorf("secrets %q and %q", first, second)
	}
}

func must(t *testing.T) string {
	t.Helper()
	secret, err := NewSecret()
	if err != nil {
		t.Fatal(err)
	}
	return secret
}
