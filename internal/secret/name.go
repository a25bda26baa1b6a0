package secret

import (
	"iter"
	"strings"
)

// Name tells whether a key (of a label, an annotation or a variable) says that
// its value is a secret. It errs on the side of secrets: it looks anywhere in
// the key, without regard to case.
func Name(key string) bool {
	for _, name := range secretNames {
		if containsFold(key, name) {
			return true
		}
	}
	return false
}

func containsFold(text, part string) bool {
	for i := 0; i+len(part) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// SensitiveName is stricter than [Name]: it also tells of keys one of whose
// words announces a secret. DB_PASS, dbPass and com.example.db.pass have the
// word pass, compass has not. It is for keys that nobody has asked for by their
// name: SESSION_TIMEOUT and com.example.key-count are false alarms.
func SensitiveName(key string) bool {
	if Name(key) {
		return true
	}
	for word := range words(key) {
		if isSensitiveWord(word) {
			return true
		}
	}
	return false
}

// words yields the runs of letters in a key, and the words of those that are
// written in camelCase. A digit ends a word, so that PASS2 is a PASS.
func words(key string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i < len(key); i++ {
			n := 0
			for i+n < len(key) && isLetter(key[i+n]) {
				n++
			}
			if n > 0 && !yieldCamel(key[i:i+n], yield) {
				return
			}
			i += n
		}
	}
}

// yieldCamel yields a run of letters, then its words: DBPass has DB and Pass.
func yieldCamel(run string, yield func(string) bool) bool {
	if !yield(run) {
		return false
	}
	start := 0
	for i := 1; i < len(run); i++ {
		begins := isCapital(run[i]) && (!isCapital(run[i-1]) || i+1 < len(run) && !isCapital(run[i+1]))
		if !begins {
			continue
		}
		if !yield(run[start:i]) {
			return false
		}
		start = i
	}
	return start == 0 || yield(run[start:])
}

func isLetter(c byte) bool { return alphanumeric(c) && c > '9' }

func isCapital(c byte) bool { return 'A' <= c && c <= 'Z' }

// sensitiveWords announce a secret as a word of their own. otp is not among
// them: images of Erlang have OTP_VERSION, and a one-time password is in no
// label. Nor is oauth: what is secret of it is called secret or token.
var sensitiveWords = []string{
	"pass", "passcode", "pw", "psw", "pswd", "pin",
	"auth", "auths", "basicauth", "digestauth", "bearer", "jwt",
	"cred", "creds", "key", "keys", "private", "signing", "session", "sessionid", "cookie", "cookies",
	"salt", "salts", "dsn", "unseal",
	// Two words without anything between them.
	"privatekey", "secretkey", "signingkey", "sessionkey", "masterkey", "encryptionkey", "sharedkey",
	"authkey", "appkey", "sshkey", "hmackey", "licensekey", "accountkey", "deploykey",
}

// sensitiveEnds announce a secret at the end of a word, as in DBPASS.
var sensitiveEnds = []string{"pass", "creds"}

// harmlessEnds are of words that end in pass by chance.
var harmlessEnds = []string{"bypass", "compass", "trespass", "surpass", "overpass", "underpass"}

func isSensitiveWord(word string) bool {
	for _, sensitive := range sensitiveWords {
		if len(word) == len(sensitive) && strings.EqualFold(word, sensitive) {
			return true
		}
	}
	return endsInOneOf(word, sensitiveEnds) && !endsInOneOf(word, harmlessEnds)
}

func endsInOneOf(word string, ends []string) bool {
	for _, end := range ends {
		if len(word) >= len(end) && strings.EqualFold(word[len(word)-len(end):], end) {
			return true
		}
	}
	return false
}
