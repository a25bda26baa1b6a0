package redact

import (
	"path"
	"slices"
	"strings"
)

// habit is how a program takes a secret in a way that nothing announces, by its
// manual page.
type habit struct {
	// program is its name, or the beginning of it before a star.
	program string
	// when is an argument without which the rest does not hold; "" for none.
	when string
	// flags are followed by a secret; attached have theirs behind them without a
	// blank. last: the last argument is one.
	flags, attached []string
	last            bool
}

func habits() []habit {
	p, capital := []string{"-p"}, []string{"-P"}
	return []habit{
		{program: "mysql*", attached: p}, {program: "mariadb*", attached: p},
		{program: "sshpass", flags: p, attached: p},
		{program: "mongo*", flags: p},
		{program: "redis-cli", flags: []string{"-a"}}, {program: "valkey-cli", flags: []string{"-a"}},
		{program: "ldap*", flags: []string{"-w"}},
		{program: "docker", when: "login", flags: p}, {program: "podman", when: "login", flags: p}, {program: "helm", when: "login", flags: p},
		{program: "mosquitto_*", flags: capital}, {program: "sqlcmd", flags: capital, attached: capital}, {program: "bcp", flags: capital, attached: capital},
		{program: "zip", flags: capital, attached: capital}, {program: "unzip", flags: capital, attached: capital}, {program: "7z*", attached: p},
		{program: "openssl", flags: []string{"-k", "-K", "-pass", "-passin", "-passout"}},
		{program: "rabbitmqctl", when: "change_password", last: true}, {program: "rabbitmqctl", when: "add_user", last: true},
		{program: "htpasswd", when: "-b", last: true}, {program: "htpasswd", when: "-nb", last: true}, {program: "htpasswd", when: "-nbB", last: true},
		{program: "vault", when: "login", last: true},
	}
}

// habitOf puts together what holds for a command line.
func habitOf(argv []string) habit {
	var all habit
	if len(argv) == 0 {
		return all
	}
	name := path.Base(argv[0])
	for _, h := range habits() {
		start, isStart := strings.CutSuffix(h.program, "*")
		if name != h.program && (!isStart || !strings.HasPrefix(name, start)) || h.when != "" && !slices.Contains(argv, h.when) {
			continue
		}
		all.flags, all.attached = append(all.flags, h.flags...), append(all.attached, h.attached...)
		all.last = all.last || h.last
	}
	return all
}

// attachedTo returns the flag that an argument begins with, if its secret follows
// in the same argument.
func (h *habit) attachedTo(arg string) (flag string, ok bool) {
	for _, flag := range h.attached {
		if strings.HasPrefix(arg, flag) && len(arg) > len(flag) {
			return flag, true
		}
	}
	return "", false
}
