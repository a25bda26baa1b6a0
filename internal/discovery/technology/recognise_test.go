package technology_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tallymanhq/tallyman/internal/discovery/spec"
	"github.com/tallymanhq/tallyman/internal/discovery/target"
	"github.com/tallymanhq/tallyman/internal/discovery/technology"
)

func process(pid int, executable string, words ...string) technology.Process {
	return technology.Process{PID: pid, Executable: executable, Words: words}
}

func at(port uint16, pid int, executable string) target.Listener {
	return target.Listener{
		Addr: netip.AddrPortFrom(netip.IPv4Unspecified(), port), Protocol: target.TCP, PID: pid, Executable: executable,
	}
}

type (
	facts     = technology.Facts
	processes = []technology.Process
	listeners = []target.Listener
)

// recognises returns a check that holds each answer as a line: name, port,
// confidence, what it was seen by.
func recognises(t *testing.T) func(name string, facts technology.Facts, want ...string) {
	return func(name string, facts technology.Facts, want ...string) {
		t.Helper()
		var got []string
		for _, tech := range technology.Recognise(facts) {
			got = append(got, fmt.Sprintf("%s %d %s %s", tech.Name, tech.Port, tech.Confidence, tech.By))
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestPrograms(t *testing.T) {
	f := recognises(t)
	f("nothing", facts{})
	f("unknown", facts{Processes: processes{process(1, "sleep", "sleep", "9")}, Listening: listeners{at(8080, 1, "sleep")}})

	f("program", facts{Processes: processes{process(1, "redis-server", "redis-server *:6379")}, Listening: listeners{at(6379, 1, "redis-server")}},
		"redis 6379 certain executable redis-server")
	f("program at another port", facts{Processes: processes{process(1, "redis-server")}, Listening: listeners{at(7000, 1, "redis-server")}},
		"redis 7000 certain executable redis-server")
	f("program that does not listen yet", facts{Processes: processes{process(1, "nginx")}},
		"nginx 0 certain executable nginx")
	f("announced while no socket is known", facts{Processes: processes{process(1, "nginx")}, Ports: []target.Port{{Number: 80, Protocol: target.TCP}}},
		"nginx 80 certain executable nginx")
	f("workers own the socket, too", facts{Processes: processes{process(1, "nginx"), process(8, "nginx")}, Listening: listeners{at(443, 8, "nginx"), at(80, 1, "nginx")}},
		"nginx 80 certain executable nginx", "nginx 443 certain executable nginx")
	f("version in the name", facts{Processes: processes{process(1, "php-fpm8.2")}, Listening: listeners{at(9000, 1, "php-fpm8.2")}},
		"php-fpm 9000 certain executable php-fpm8.2")
	f("replaced on disk", facts{Processes: processes{process(1, "haproxy (deleted)")}}, "haproxy 0 certain executable haproxy (deleted)")
	f("title alone", facts{Processes: processes{process(1, "", "nginx: master process /usr/sbin/nginx")}},
		"nginx 0 likely process title nginx")
	f("two in one container", facts{Processes: processes{process(1, "supervisord"), process(5, "nginx"), process(6, "php-fpm8.2"), process(7, "node", "node", "x.js")}, Listening: listeners{at(80, 5, "nginx")}},
		"nginx 80 certain executable nginx", "php-fpm 0 certain executable php-fpm8.2", "node 0 certain executable node")
}

func TestLaunchers(t *testing.T) {
	f := recognises(t)
	f("launcher and class", facts{Processes: processes{process(1, "java", "java", "-Xmx1G", "-cp", "/opt/kafka/libs/*", "kafka.Kafka", "server.properties")}, Listening: listeners{at(9092, 1, "java"), at(40001, 1, "java")}},
		"kafka 9092 certain java running kafka.Kafka", "kafka 40001 certain java running kafka.Kafka")
	f("class with its package", facts{Processes: processes{process(1, "java", "java", "org.apache.zookeeper.server.quorum.QuorumPeerMain")}},
		"zookeeper 0 certain java running org.apache.zookeeper.server.quorum.QuorumPeerMain")
	f("module and class", facts{Processes: processes{process(1, "java", "java", "-m", "org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch")}},
		"elasticsearch 0 certain java running org.elasticsearch.bootstrap.Elasticsearch")
	f("launcher and port", facts{Processes: processes{process(1, "java", "java", "-jar", "app.jar")}, Listening: listeners{at(9092, 1, "java")}},
		"kafka 9092 likely java listening at port 9092")
	f("only the runtime", facts{Processes: processes{process(1, "java", "java", "-jar", "app.jar")}, Listening: listeners{at(8080, 1, "java")}},
		"java 8080 certain executable java")
	f("rabbitmq", facts{Processes: processes{process(1, "beam.smp", "/usr/lib/erlang/bin/beam.smp", "-noshell", "-s", "rabbit", "boot"), process(9, "erl_child_setup")}, Listening: listeners{at(5672, 1, "beam.smp"), at(15672, 1, "beam.smp"), at(25672, 1, "beam.smp")}},
		"rabbitmq 15672 certain beam.smp running rabbit", "rabbitmq 5672 certain beam.smp running rabbit", "rabbitmq 25672 certain beam.smp running rabbit")
	f("gunicorn by its script", facts{Processes: processes{process(1, "python3.13", "/usr/bin/python3", "/usr/bin/gunicorn", "app")}},
		"gunicorn 0 certain python running gunicorn")
	f("gunicorn by its title", facts{Processes: processes{process(1, "python3.13", "gunicorn: master [app]")}},
		"gunicorn 0 certain python running gunicorn")
	f("a script's arguments are no sign", facts{Processes: processes{process(1, "node", "node", "server.js", "--db=postgres")}, Listening: listeners{at(3000, 1, "node")}},
		"node 3000 certain executable node")
}

// The same file, or the same launcher, is a server or a tool.
func TestTools(t *testing.T) {
	f := recognises(t)
	f("link to another name", facts{Processes: processes{process(7, "redis-check-rdb", "redis-server *:6379")}, Listening: listeners{at(6379, 7, "redis-check-rdb")}},
		"redis 6379 certain executable redis-check-rdb called redis-server")
	f("that name itself", facts{Processes: processes{process(7, "redis-check-rdb", "redis-check-rdb", "/dump.rdb")}})
	f("link to the server", facts{Processes: processes{process(7, "redis-server", "/usr/local/bin/redis-check-aof", "/a.aof")}})
	f("command line unknown", facts{Processes: processes{process(7, "redis-check-rdb")}})

	f("server by its command", facts{Processes: processes{process(7, "consul", "consul", "-log-level=warn", "agent", "-dev")}},
		"consul 0 certain executable consul")
	f("client by its command", facts{Processes: processes{process(7, "consul", "consul", "watch", "agent")}})
	f("whatever it is commanded, it serves", facts{Processes: processes{process(7, "minio", "minio", "-C", "/conf", "server")}, Listening: listeners{at(9000, 7, "minio")}},
		"minio 9000 certain executable minio")
	f("server by its name", facts{Processes: processes{process(7, "clickhouse", "/usr/bin/clickhouse-server", "--config=/c")}},
		"clickhouse 0 certain executable clickhouse")
	f("client by its name", facts{Processes: processes{process(7, "clickhouse", "clickhouse-client", "-q", "select 1")}})
	f("file of the server alone", facts{Processes: processes{process(7, "grafana-server", "grafana-server", "--homepath=/x")}},
		"grafana 0 certain executable grafana-server")

	f("Kafka's consumer", facts{Processes: processes{process(7, "java", "java", "org.apache.kafka.tools.consumer.ConsoleConsumer")}}, "java 0 certain executable java")
	f("Cassandra's nodetool", facts{Processes: processes{process(7, "java", "java", "org.apache.cassandra.tools.NodeTool", "status")}}, "java 0 certain executable java")
	f("Tomcat", facts{Processes: processes{process(7, "java", "java", "org.apache.catalina.startup.Bootstrap", "start")}},
		"tomcat 0 certain java running org.apache.catalina.startup.Bootstrap")
	f("what stops Tomcat", facts{Processes: processes{process(7, "java", "java", "org.apache.catalina.startup.Bootstrap", "stop")}}, "java 0 certain executable java")

	f("named like RabbitMQ's nodes", facts{Processes: processes{process(7, "beam.smp", "/x/beam.smp", "-sname", "rabbit", "-s", "shell")}}, "erlang 0 certain executable beam.smp")
	f("module", facts{Processes: processes{process(7, "python3.11", "python3", "-X", "dev", "-m", "gunicorn", "app")}}, "gunicorn 0 certain python running gunicorn")
	f("who installs it", facts{Processes: processes{process(7, "python3.11", "python3", "-m", "pip", "install", "gunicorn")}}, "python 0 certain executable python3.11")
	f("who talks of it", facts{Processes: processes{process(7, "python3.11", "python3", "-c", "gunicorn")}}, "python 0 certain executable python3.11")
}

// Where the file of a program may not be read, what it calls itself is likely at most.
func TestNamesThatAnybodyMaySet(t *testing.T) {
	f := recognises(t)
	f("title and command name", facts{Processes: processes{{PID: 1, Comm: "worker", Words: []string{"redis-server *:6379"}}}, Listening: listeners{at(6379, 0, "")}},
		"redis 6379 likely process title redis-server")
	f("command name alone", facts{Processes: processes{{PID: 1, Comm: "nginx"}}}, "nginx 0 likely process title nginx")
	f("command name that is cut", facts{Processes: processes{{PID: 1, Comm: "clickhouse-serv"}}}, "clickhouse 0 likely process title clickhouse-server")
	f("that of a tool", facts{Processes: processes{{PID: 1, Comm: "clickhouse-clie"}}})
	f("short ones are not", facts{Processes: processes{{PID: 1, Comm: "clickhouse-se"}}})
	f("script", facts{Processes: processes{{PID: 1, Comm: "redis-server", Words: []string{"/bin/sh", "/x/redis-server"}}}})
	f("launcher", facts{Processes: processes{{PID: 1, Comm: "java", Words: []string{"java", "kafka.Kafka"}}}}, "kafka 0 likely java running kafka.Kafka")
	f("command name besides the file", facts{Processes: processes{{PID: 1, Executable: "sleep", Comm: "nginx", Words: []string{"sleep", "9"}}}})
	f("a client in its server's image", facts{Image: "redis", Processes: processes{{PID: 1, Comm: "redis-cli", Words: []string{"redis-cli", "monitor"}}}})
	f("a launcher in an image", facts{Image: "jenkins/jenkins", Processes: processes{{PID: 1, Comm: "java", Words: []string{"java", "-jar", "/app.jar"}}}},
		"jenkins 0 likely image jenkins", "java 0 likely process title java")
}

// The name server that Docker puts into each container may have any port.
func TestLoopback(t *testing.T) {
	f := recognises(t)
	inner := at(61616, 0, "")
	inner.Addr = netip.MustParseAddrPort("127.0.0.11:61616")
	f("nobody's", facts{Listening: listeners{inner}})
	f("nobody's, in an image", facts{Image: "activemq", Processes: processes{process(1, "bash")}, Listening: listeners{inner}})
	inner.PID, inner.Executable = 7, "app"
	f("somebody's", facts{Listening: listeners{inner}}, "activemq 61616 possible listening at port 61616")
}

func TestWeakSigns(t *testing.T) {
	f := recognises(t)
	f("image alone", facts{Image: "registry:5000/bitnami/postgresql", Ports: []target.Port{{Number: 5432, Protocol: target.TCP}}},
		"postgresql 5432 likely image postgresql")
	f("image and program", facts{Image: "redis", Processes: processes{process(1, "redis-server")}},
		"redis 0 certain executable redis-server")
	f("image and unknown owner are one", facts{Image: "mariadb", Listening: listeners{at(3306, 0, "")}},
		"mariadb 3306 likely image mariadb")
	f("image of a server run for its client", facts{Image: "redis", Processes: processes{process(1, "redis-cli", "redis-cli", "monitor")}})
	f("image and an unknown program at its port", facts{Image: "envoyproxy/envoy", Processes: processes{process(1, "envoy-static")}, Listening: listeners{at(10000, 1, "envoy-static")}},
		"envoy 10000 likely image envoy")
	f("image and launcher", facts{Image: "jenkins/jenkins", Processes: processes{process(1, "java", "java", "-jar", "/app.jar")}, Listening: listeners{at(8080, 1, "java")}},
		"java 8080 certain executable java", "jenkins 8080 likely image jenkins")
	f("name within a name", facts{Image: "team/redis-exporter"})

	f("port alone", facts{Listening: listeners{at(6379, 0, "")}}, "redis 6379 possible listening at port 6379")
	f("port of a stranger", facts{Processes: processes{process(1, "dragonfly")}, Listening: listeners{at(6379, 1, "dragonfly")}},
		"redis 6379 possible listening at port 6379")
	f("port taken by a known program", facts{Processes: processes{process(1, "haproxy")}, Listening: listeners{at(6379, 1, "haproxy")}},
		"haproxy 6379 certain executable haproxy")
	f("ports that everybody uses", facts{Listening: listeners{at(80, 0, ""), at(8080, 0, ""), at(3000, 0, "")}})
	f("announced says nothing of what runs", facts{Ports: []target.Port{{Number: 6379, Protocol: target.TCP}}})
}

// Secrets on a command line never get into what is told.
func TestWordsAreNotTold(t *testing.T) {
	for _, tech := range technology.Recognise(technology.Facts{Processes: []technology.Process{
		process(1, "java", "java", "-Dpassword=hunter2", "kafka.Kafka"),
		process(2, "", "redis-server --requirepass hunter2"),
	}}) {
		if strings.Contains(tech.By, "hunter2") {
			t.Error(tech.By)
		}
	}
}

// The table's promises: order, one technology for a sign, names that exist.
func TestTable(t *testing.T) {
	table := technology.Table()
	if !slices.IsSortedFunc(table, func(a, b technology.Entry) int { return cmp.Compare(a.Name, b.Name) }) {
		t.Error("not in the order of names")
	}
	if len(table) < 30 {
		t.Errorf("%d technologies, promised are about 30", len(table))
	}
	signs := map[string]string{}
	claim := func(name, sign string) {
		if other, taken := signs[sign]; taken {
			t.Errorf("%s stands for %s and %s", sign, other, name)
		}
		signs[sign] = name
	}
	for _, e := range table {
		for _, name := range e.Executables {
			claim(e.Name, "executable "+name)
		}
		for _, name := range e.Twins {
			claim(e.Name, "executable "+name)
		}
		for _, name := range e.Images {
			claim(e.Name, "image "+name)
		}
		for _, word := range e.Words {
			claim(e.Name, e.Launcher+" running "+word)
		}
		if e.Telling != 0 {
			claim(e.Name, "port "+netip.AddrPortFrom(netip.IPv4Unspecified(), e.Telling).String())
			if !slices.Contains(e.Ports, e.Telling) {
				t.Errorf("%s: %d is none of its ports", e.Name, e.Telling)
			}
		}
		if (e.Launcher == "") != (len(e.Words) == 0) {
			t.Errorf("%s: launcher without words or the other way round", e.Name)
		}
		if e.Receiver != "" && spec.CheckReceiver(e.Receiver) != nil {
			t.Errorf("%s: receiver %q", e.Name, e.Receiver)
		}
	}
}

// As the kernel cuts it, too, a name stands for one technology.
func TestCutNames(t *testing.T) {
	cuts := map[string]string{}
	for _, e := range technology.Table() {
		for _, name := range slices.Concat(e.Executables, e.Twins) {
			cut := name[:min(len(name), 15)]
			if other, taken := cuts[cut]; taken && other != e.Name {
				t.Errorf("%s stands for %s and %s", cut, other, e.Name)
			}
			cuts[cut] = e.Name
		}
	}
}

// Telling takes what a command says for what it runs if it is both.
func TestWordsAndCommands(t *testing.T) {
	isWord := map[string]bool{}
	for _, e := range technology.Table() {
		for _, word := range e.Words {
			isWord[word] = true
		}
	}
	for _, e := range technology.Table() {
		for _, word := range e.Serves {
			if isWord[word] || strings.HasPrefix(word, "-") {
				t.Errorf("%s: %q", e.Name, word)
			}
		}
	}
}

// Each program of the table is recognised by its own name.
func TestEveryExecutable(t *testing.T) {
	for _, e := range technology.Table() {
		for _, name := range e.Executables {
			got := technology.Recognise(technology.Facts{Processes: []technology.Process{process(1, name)}})
			if len(got) != 1 || got[0].Name != e.Name || got[0].Confidence != target.Certain {
				t.Errorf("%s: %+v, want %s", name, got, e.Name)
			}
		}
	}
}

func FuzzRecognise(f *testing.F) {
	f.Add("java\x00java\x00-jar\x00kafka.Kafka", "bitnami/kafka", uint16(9092))
	f.Add("\x00nginx: master process", "", uint16(80))
	f.Add("php-fpm8.2 (deleted)", "//", uint16(0))
	// A line is the executable and the words behind it.
	f.Fuzz(func(t *testing.T, line, image string, port uint16) {
		words := strings.Split(line, "\x00")
		executable := words[0]
		facts := technology.Facts{
			Processes: []technology.Process{process(1, executable, words[1:]...)},
			Image:     image, Listening: []target.Listener{at(port, 1, executable)},
		}
		got := technology.Recognise(facts)
		for i, tech := range got {
			if tech.Name == "" || tech.By == "" || tech.Confidence == target.None {
				t.Errorf("incomplete: %+v", tech)
			}
			if i > 0 && got[i-1].Confidence < tech.Confidence {
				t.Errorf("not the surest first: %+v", got)
			}
			if tech.Port != 0 && tech.Port != port {
				t.Errorf("port %d was never there", tech.Port)
			}
		}
	})
}
