package secret

import "bytes"

// Certain tells whether a text holds what is never anything but a secret:
// a URL with a password, a JSON web token, a PEM block, the hash of a password,
// or a key that its provider has marked as one. No number, digest, version, or
// image reference is like that, so kept fields are searched, too.
func Certain(text []byte) bool {
	if len(text) < shortestSecret {
		return false
	}
	return hasUserInfo(text) || hasWebToken(text) || hasMarked(text) ||
		bytes.Contains(text, []byte("-----BEGIN "))
}

// Likely also tells of text that has the looks of a secret: assignments
// to names like password, and long runs of random characters. Digests with
// their algorithm and UUIDs are none; a bare hexadecimal number of 32 digits
// is one, because that is what many keys look like.
func Likely(text []byte) bool {
	return Certain(text) || Assigned(text) || hasRandomRun(text)
}

// shortestSecret is the shortest that Certain finds: x://a:b@
const shortestSecret = 8

// hasUserInfo finds scheme://user:password@host, a long user name alone (tokens
// are often given like that), and the form of Go's MySQL driver,
// user:password@tcp(host).
func hasUserInfo(text []byte) bool {
	const tokenFrom = 16 // longer than git, oauth2 and other user names
	if bytes.Contains(text, []byte("@tcp(")) || bytes.Contains(text, []byte("@unix(")) {
		return true
	}
	// Without a bound, many of :// would be read by the square of their number.
	const longestUserInfo = 1024
	rest := text
	for {
		at := bytes.Index(rest, []byte("://"))
		if at < 0 {
			return false
		}
		rest = rest[at+len("://"):]
		word := rest[:min(len(rest), longestUserInfo)]
		if end := bytes.IndexAny(word, " \t\r\n\"'<>,"); end >= 0 {
			word = word[:end]
		}
		at = bytes.LastIndexByte(word, '@')
		if at < 0 {
			continue
		}
		// A slash before the @ ends the host, unless it is one in a password that
		// ought to be encoded: then what is before it does not end in a port.
		user, _, slash := bytes.Cut(word[:at], []byte("/"))
		_, password, colon := bytes.Cut(user, []byte(":"))
		if colon && !(slash && isPortNumber(password)) || !slash && len(user) >= tokenFrom {
			return true
		}
	}
}

func isPortNumber(text []byte) bool {
	return len(text) <= len("65535") && consists(text, func(c byte) bool { return '0' <= c && c <= '9' })
}

// hasWebToken finds eyJ….…, the beginning of every JSON web token: {" in base64,
// a dot, and more.
func hasWebToken(text []byte) bool {
	const begin, fewest = "eyJ", 4
	for rest := text; ; {
		at := bytes.Index(rest, []byte(begin))
		if at < 0 {
			return false
		}
		rest = rest[at+len(begin):]
		header := span(rest, isBase64URL)
		if header >= fewest && header < len(rest) && rest[header] == '.' &&
			span(rest[header+1:], isBase64URL) >= fewest {
			return true
		}
		rest = rest[header:] // no other header in it ends in a dot, either
	}
}

// mark begins a key whose provider made it recognisable, or the hash of a
// password. At least few characters of the key must follow.
type mark struct {
	begin string
	fits  func(byte) bool
	few   int
}

// hasMarked looks at every place where a mark can begin. Looking for one mark
// after the other takes ten times as long.
func hasMarked(text []byte) bool {
	for i, c := range text {
		for _, m := range marksFrom(c) {
			rest, ok := bytes.CutPrefix(text[i:], []byte(m.begin))
			if ok && span(rest, m.fits) >= m.few {
				return true
			}
		}
	}
	return false
}

// marksFrom returns the marks that begin with c.
func marksFrom(c byte) []mark {
	switch c {
	case '$':
		return hashMarks
	case '{':
		return schemeMarks
	case 'A':
		return amazonGoogleMarks
	case 'g':
		return gitMarks
	case 'x':
		return slackMarks
	case 's', 'r':
		return stripeMarks
	case 'h':
		return vaultMarks
	case 'S':
		return swarmMarks
	}
	return nil
}

var (
	hashMarks = []mark{ // crypt(3), htpasswd
		{"$2a$", isHash, 12}, {"$2b$", isHash, 12}, {"$2y$", isHash, 12}, {"$apr1$", isHash, 12},
		{"$argon2", isHash, 12}, {"$1$", isHash, 12}, {"$5$", isHash, 12}, {"$6$", isHash, 12},
	}
	// schemeMarks are the schemes of userPassword (RFC 2307, OpenLDAP), as
	// htpasswd -s writes them, too. At least so many characters follow as the
	// hash and, where there is one, 4 bytes of salt have in base64.
	schemeMarks = []mark{
		{"{SHA}", isBase64, 28}, {"{SSHA}", isBase64, 32}, {"{SHA256}", isBase64, 44}, {"{SSHA256}", isBase64, 48},
		{"{SHA512}", isBase64, 88}, {"{SSHA512}", isBase64, 92}, {"{MD5}", isBase64, 24}, {"{SMD5}", isBase64, 28},
	}
	amazonGoogleMarks = []mark{
		{"AKIA", isCapitalOrDigit, 16}, {"ASIA", isCapitalOrDigit, 16}, {"AIza", isBase64URL, 30},
	}
	gitMarks = []mark{
		{"ghp_", alphanumeric, 20}, {"gho_", alphanumeric, 20}, {"ghs_", alphanumeric, 20},
		{"ghu_", alphanumeric, 20}, {"ghr_", alphanumeric, 20},
		{"github_pat_", isBase64URL, 20}, {"glpat-", isBase64URL, 16},
	}
	slackMarks = []mark{
		{"xoxb-", isBase64URL, 12}, {"xoxp-", isBase64URL, 12}, {"xoxa-", isBase64URL, 12}, {"xapp-", isBase64URL, 12},
	}
	stripeMarks = []mark{{"sk_live_", alphanumeric, 12}, {"rk_live_", alphanumeric, 12}}
	vaultMarks  = []mark{{"hvs.", isBase64URL, 20}}
	swarmMarks  = []mark{{"SWMTKN-1-", isBase64URL, 20}, {"SWMKEY-1-", isBase64URL, 20}}
)

// secretNames are the ends of names that are given secrets.
var secretNames = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "api_key", "api-key",
	"accesskey", "access_key", "private_key", "credential", "credentials", "authorization",
}

// Assigned tells of password=x, "password": "x", token: x and the like.
// Templates (%%…%%, ${…}, {{…}}, ENC[…]) and masks are not secret.
func Assigned(text []byte) bool {
	for i, c := range text {
		if c != '=' && c != ':' || i == 0 {
			continue
		}
		name := bytes.TrimRight(text[:i], ` "'\`)
		if !endsInSecretName(name) {
			continue
		}
		value := bytes.TrimLeft(text[i+1:], ` "'\`)
		if len(value) > 0 && !isPlaceholder(value) {
			return true
		}
	}
	return false
}

func endsInSecretName(text []byte) bool {
	for _, name := range secretNames {
		if len(text) >= len(name) && bytes.EqualFold(text[len(text)-len(name):], []byte(name)) {
			return true
		}
	}
	return false
}

func isPlaceholder(value []byte) bool {
	for _, begin := range []string{"%%", "${", "{{", "ENC[", "***", ",", "}", "]", ";", "&"} {
		if bytes.HasPrefix(value, []byte(begin)) {
			return true
		}
	}
	return false
}

// span counts the bytes at the beginning of text that fit.
func span(text []byte, fits func(byte) bool) int {
	for i, c := range text {
		if !fits(c) {
			return i
		}
	}
	return len(text)
}

func isBase64URL(c byte) bool { return alphanumeric(c) || c == '-' || c == '_' }

func isBase64(c byte) bool { return alphanumeric(c) || c == '+' || c == '/' || c == '=' }

func isHash(c byte) bool {
	return isBase64URL(c) || c == '/' || c == '+' || c == '.' || c == '$' || c == '=' || c == ','
}

func isCapitalOrDigit(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' }

// consists tells whether all bytes of a text fit; an empty one does.
func consists(text []byte, of func(byte) bool) bool { return span(text, of) == len(text) }

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
