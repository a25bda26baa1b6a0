package technology

import "slices"

// Entry is how one technology is seen.
type Entry struct {
	// Name is the value of service.technology.
	Name string
	// Executables are base names of its programs, without a version: php-fpm
	// also stands for php-fpm8.2.
	Executables []string
	// Twins are other names of the same file, under which it is a tool. Which of
	// the names is the file's and which are links differs between builds: Debian's
	// redis-server is a link to redis-check-rdb. So what the process is called by
	// decides.
	Twins []string
	// Launcher is the program that runs it where it has none of its own, Words
	// the words on the launcher's command line that give it away, each a whole word
	// or the last part of a path: a class, an archive, a script.
	Launcher string
	Words    []string
	// Serves are the commands that make a server of a program that is its own
	// client, too: the first of Executables, or what Words run. None: it always is
	// one.
	Serves []string
	// Images are last parts of image names.
	Images []string
	// Ports are the usual ones, the one to collect from first.
	Ports []uint16
	// Telling is the one of Ports that hardly anybody else uses, so that a
	// listener there is a sign; 0: none is.
	Telling uint16
	// Runtime: it runs programs of others, and is only named if nothing else is.
	Runtime bool
	// Receiver is the type of the Collector receiver that reads it; "" where
	// none does by itself.
	Receiver string
}

// Table returns the table, in the order of its names.
func Table() []Entry { return slices.Clone(table) }

// The receivers have the names of collector-contrib in v0.158, whether or not a
// distribution contains them (it has none for JMX any more); prometheus where the
// program itself serves that format at the first port, or can be told to. Ports
// are the programs' documented defaults. table is in the order of names and never
// changed; docs/technologies.md shows it (TestDocs).
var table = []Entry{
	{Name: "activemq", Launcher: "java", Words: []string{"activemq.jar", "org.apache.activemq.artemis.boot.Artemis"}, Serves: []string{"start", "console", "run"}, Images: []string{"activemq", "activemq-classic", "activemq-artemis"}, Ports: []uint16{61616}, Telling: 61616},
	{Name: "aerospike", Executables: []string{"asd"}, Images: []string{"aerospike-server", "aerospike"}, Ports: []uint16{3000}, Receiver: "aerospike"},
	{Name: "apache", Executables: []string{"apache2", "httpd"}, Images: []string{"httpd", "apache", "apache2"}, Ports: []uint16{80, 443, 8080}, Receiver: "apache"},
	{Name: "bind", Executables: []string{"named"}, Images: []string{"bind9", "bind"}, Ports: []uint16{53}},
	{Name: "caddy", Executables: []string{"caddy"}, Serves: []string{"run", "start", "file-server", "reverse-proxy", "respond"}, Images: []string{"caddy"}, Ports: []uint16{80, 443, 2019}},
	{Name: "cassandra", Launcher: "java", Words: []string{"org.apache.cassandra.service.CassandraDaemon"}, Images: []string{"cassandra"}, Ports: []uint16{9042, 7199}, Telling: 9042},
	{Name: "clickhouse", Executables: []string{"clickhouse", "clickhouse-server"}, Twins: []string{"clickhouse-client", "clickhouse-local", "clickhouse-benchmark", "ch", "chc", "chl"}, Serves: []string{"server"}, Images: []string{"clickhouse-server", "clickhouse"}, Ports: []uint16{8123, 9000}, Telling: 8123},
	{Name: "consul", Executables: []string{"consul"}, Serves: []string{"agent"}, Images: []string{"consul"}, Ports: []uint16{8500}, Telling: 8500},
	{Name: "coredns", Executables: []string{"coredns"}, Images: []string{"coredns"}, Ports: []uint16{9153, 53}, Receiver: "prometheus"},
	{Name: "couchdb", Launcher: "beam.smp", Words: []string{"couchdb"}, Images: []string{"couchdb"}, Ports: []uint16{5984}, Telling: 5984, Receiver: "couchdb"},
	{Name: "dotnet", Executables: []string{"dotnet"}, Runtime: true},
	{Name: "elasticsearch", Launcher: "java", Words: []string{"org.elasticsearch.bootstrap.Elasticsearch"}, Images: []string{"elasticsearch"}, Ports: []uint16{9200}, Telling: 9200, Receiver: "elasticsearch"},
	{Name: "envoy", Executables: []string{"envoy"}, Images: []string{"envoy", "proxyv2"}, Ports: []uint16{9901, 10000}, Receiver: "prometheus"},
	{Name: "erlang", Executables: []string{"beam.smp"}, Runtime: true},
	{Name: "etcd", Executables: []string{"etcd"}, Images: []string{"etcd"}, Ports: []uint16{2379}, Telling: 2379, Receiver: "prometheus"},
	{Name: "grafana", Executables: []string{"grafana", "grafana-server"}, Serves: []string{"server"}, Images: []string{"grafana", "grafana-oss", "grafana-enterprise"}, Ports: []uint16{3000}, Receiver: "prometheus"},
	{Name: "gunicorn", Launcher: "python", Words: []string{"gunicorn"}, Ports: []uint16{8000}},
	{Name: "haproxy", Executables: []string{"haproxy"}, Images: []string{"haproxy"}, Ports: []uint16{8404, 80, 443}, Receiver: "haproxy"},
	{Name: "influxdb", Executables: []string{"influxd", "influxdb3"}, Images: []string{"influxdb"}, Ports: []uint16{8086}, Telling: 8086},
	{Name: "java", Executables: []string{"java"}, Runtime: true},
	{Name: "jenkins", Launcher: "java", Words: []string{"jenkins.war"}, Images: []string{"jenkins"}, Ports: []uint16{8080}},
	{Name: "kafka", Launcher: "java", Words: []string{"kafka.Kafka"}, Images: []string{"kafka", "cp-kafka"}, Ports: []uint16{9092}, Telling: 9092, Receiver: "kafka_metrics"},
	{Name: "mariadb", Executables: []string{"mariadbd"}, Images: []string{"mariadb"}, Ports: []uint16{3306}, Receiver: "mysql"},
	{Name: "memcached", Executables: []string{"memcached"}, Images: []string{"memcached"}, Ports: []uint16{11211}, Telling: 11211, Receiver: "memcached"},
	{Name: "minio", Executables: []string{"minio"}, Serves: []string{"server", "gateway"}, Images: []string{"minio"}, Ports: []uint16{9000}},
	{Name: "mongodb", Executables: []string{"mongod", "mongos"}, Images: []string{"mongo", "mongodb", "mongodb-community-server"}, Ports: []uint16{27017}, Telling: 27017, Receiver: "mongodb"},
	{Name: "mosquitto", Executables: []string{"mosquitto"}, Images: []string{"eclipse-mosquitto", "mosquitto"}, Ports: []uint16{1883, 8883}, Telling: 1883},
	{Name: "mysql", Executables: []string{"mysqld"}, Images: []string{"mysql", "mysql-server", "percona-server", "percona"}, Ports: []uint16{3306}, Telling: 3306, Receiver: "mysql"},
	{Name: "nats", Executables: []string{"nats-server"}, Images: []string{"nats", "nats-server"}, Ports: []uint16{8222, 4222}},
	{Name: "nginx", Executables: []string{"nginx"}, Images: []string{"nginx", "nginx-unprivileged", "openresty"}, Ports: []uint16{80, 443, 8080}, Receiver: "nginx"},
	{Name: "node", Executables: []string{"node", "nodejs"}, Runtime: true},
	{Name: "openldap", Executables: []string{"slapd"}, Images: []string{"openldap"}, Ports: []uint16{389, 636}, Telling: 389},
	{Name: "opensearch", Launcher: "java", Words: []string{"org.opensearch.bootstrap.OpenSearch"}, Images: []string{"opensearch"}, Ports: []uint16{9200}, Receiver: "elasticsearch"},
	{Name: "pgbouncer", Executables: []string{"pgbouncer"}, Images: []string{"pgbouncer"}, Ports: []uint16{6432}, Telling: 6432},
	{Name: "php", Executables: []string{"php"}, Runtime: true},
	{Name: "php-fpm", Executables: []string{"php-fpm"}, Ports: []uint16{9000}},
	{Name: "postgresql", Executables: []string{"postgres", "postmaster"}, Images: []string{"postgres", "postgresql", "postgis", "timescaledb"}, Ports: []uint16{5432}, Telling: 5432, Receiver: "postgresql"},
	{Name: "prometheus", Executables: []string{"prometheus"}, Images: []string{"prometheus"}, Ports: []uint16{9090}, Receiver: "prometheus"},
	{Name: "python", Executables: []string{"python", "pypy"}, Runtime: true},
	{Name: "rabbitmq", Launcher: "beam.smp", Words: []string{"rabbit", "rabbit_prelaunch"}, Serves: []string{"boot"}, Images: []string{"rabbitmq"}, Ports: []uint16{15672, 5672}, Telling: 5672, Receiver: "rabbitmq"},
	{Name: "redis", Executables: []string{"redis-server", "redis-sentinel"}, Twins: []string{"redis-check-rdb", "redis-check-aof"}, Images: []string{"redis", "redis-stack", "redis-stack-server"}, Ports: []uint16{6379, 26379}, Telling: 6379, Receiver: "redis"},
	{Name: "ruby", Executables: []string{"ruby"}, Runtime: true},
	{Name: "squid", Executables: []string{"squid"}, Images: []string{"squid"}, Ports: []uint16{3128}, Telling: 3128},
	{Name: "tomcat", Launcher: "java", Words: []string{"org.apache.catalina.startup.Bootstrap"}, Serves: []string{"start"}, Images: []string{"tomcat"}, Ports: []uint16{8080}},
	{Name: "traefik", Executables: []string{"traefik"}, Images: []string{"traefik"}, Ports: []uint16{8080, 80, 443}, Receiver: "prometheus"},
	{Name: "unbound", Executables: []string{"unbound"}, Images: []string{"unbound"}, Ports: []uint16{53}},
	{Name: "uwsgi", Executables: []string{"uwsgi", "uwsgi-core"}, Launcher: "python", Words: []string{"uwsgi"}},
	{Name: "valkey", Executables: []string{"valkey-server", "valkey-sentinel"}, Twins: []string{"valkey-check-rdb", "valkey-check-aof"}, Images: []string{"valkey"}, Ports: []uint16{6379, 26379}, Receiver: "redis"},
	{Name: "varnish", Executables: []string{"varnishd"}, Images: []string{"varnish"}, Ports: []uint16{6081, 80}},
	{Name: "vault", Executables: []string{"vault"}, Serves: []string{"server"}, Images: []string{"vault"}, Ports: []uint16{8200}, Telling: 8200},
	{Name: "zookeeper", Launcher: "java", Words: []string{"org.apache.zookeeper.server.quorum.QuorumPeerMain", "org.apache.zookeeper.server.ZooKeeperServerMain"}, Images: []string{"zookeeper", "cp-zookeeper"}, Ports: []uint16{2181}, Telling: 2181, Receiver: "zookeeper"},
}

// index is the table by what is seen. Values are positions in table.
type index struct {
	executable map[string]int
	twin       map[string]int
	image      map[string]int
	port       map[uint16]int
	launched   map[string][]int
	// word and command are all Words and all Serves.
	word, command map[string]bool
}

var byFact = buildIndex()

func buildIndex() index {
	x := index{
		executable: map[string]int{}, twin: map[string]int{}, image: map[string]int{}, port: map[uint16]int{},
		launched: map[string][]int{}, word: map[string]bool{}, command: map[string]bool{},
	}
	for i, e := range table {
		for _, name := range e.Executables {
			x.executable[name] = i
		}
		for _, name := range e.Twins {
			x.twin[name] = i
		}
		for _, word := range e.Words {
			x.word[word] = true
		}
		for _, command := range e.Serves {
			x.command[command] = true
		}
		for _, name := range e.Images {
			x.image[name] = i
		}
		if e.Telling != 0 {
			x.port[e.Telling] = i
		}
		if e.Launcher != "" {
			x.launched[e.Launcher] = append(x.launched[e.Launcher], i)
		}
	}
	return x
}
