package api

// Agent tells about the recorder and the process it is in.
type Agent interface {
	// Status is cheap; it is asked every few seconds by each open page.
	Status() Status
	Agent() AgentStats
}

// Health of the recorder.
const (
	HealthOK   = "ok"
	HealthWarn = "warn"
	HealthBad  = "bad"
)

// Status is what every page of the web view needs. Mode, Now, ReadOnly and Capture
// are filled in by the server.
type Status struct {
	Mode     string `json:"mode"`
	Host     string `json:"host"`
	Version  string `json:"version"`
	Now      Moment `json:"now"`
	Oldest   Moment `json:"oldest,omitzero"`
	ReadOnly bool   `json:"readOnly"`
	// Health is one of the Health constants.
	Health string `json:"health"`
	// Messages are sentences for the user.
	Messages []string `json:"messages"`
	Capture  *Capture `json:"capture,omitempty"`
}

// Counts are numbers by reason or by part.
type Counts map[string]uint64

// AgentStats is what /api/agent answers. Sizes are bytes, times seconds. API is
// filled in by the server.
type AgentStats struct {
	Version    string          `json:"version"`
	Started    Moment          `json:"started,omitzero"`
	PID        int             `json:"pid"`
	CPUSeconds float64         `json:"cpuSeconds"`
	RSS        uint64          `json:"rss"`
	Heap       uint64          `json:"heap"`
	Goroutines int             `json:"goroutines"`
	Mode       string          `json:"mode"`
	Metrics    MetricStats     `json:"metrics"`
	Events     EventStats      `json:"events"`
	Entities   EntityStats     `json:"entities"`
	Captures   CaptureStats    `json:"captures"`
	Queue      QueueStats      `json:"queue"`
	Disk       DiskStats       `json:"disk"`
	Recovery   RecoveryStats   `json:"recovery"`
	TopMetrics []MetricsSeries `json:"topMetrics"`
	API        Stats           `json:"api"`
}

// MetricStats is about the metric store.
type MetricStats struct {
	Series           uint64  `json:"series"`
	Samples          uint64  `json:"samples"`
	SamplesPerSecond float64 `json:"samplesPerSecond"`
	Oldest           Moment  `json:"oldest,omitzero"`
	Newest           Moment  `json:"newest,omitzero"`
	Retention        float64 `json:"retention"`
	Bytes            Counts  `json:"bytes"`
	Dropped          Counts  `json:"dropped"`
}

// EventStats is about the event store.
type EventStats struct {
	Count     uint64  `json:"count"`
	PerSecond float64 `json:"perSecond"`
	Oldest    Moment  `json:"oldest,omitzero"`
	Bytes     Counts  `json:"bytes"`
	Dropped   Counts  `json:"dropped"`
}

// EntityStats is about the entity table.
type EntityStats struct {
	Running int    `json:"running"`
	Ended   int    `json:"ended"`
	Broken  int    `json:"broken"`
	Bytes   uint64 `json:"bytes"`
	Dropped Counts `json:"dropped"`
}

// CaptureStats is about the captures.
type CaptureStats struct {
	Count   int    `json:"count"`
	Pending int    `json:"pending"`
	Bytes   uint64 `json:"bytes"`
	Dropped Counts `json:"dropped"`
}

// QueueStats is about the exporter's queue.
type QueueStats struct {
	Length   int    `json:"length"`
	Capacity int    `json:"capacity"`
	Dropped  Counts `json:"dropped"`
}

// DiskStats is about the file system of the recorder.
type DiskStats struct {
	Budget uint64 `json:"budget"`
	Used   uint64 `json:"used"`
	Free   uint64 `json:"free"`
	Total  uint64 `json:"total"`
}

// RecoveryStats tells how the last start went.
type RecoveryStats struct {
	Took     float64  `json:"took"`
	Samples  uint64   `json:"samples"`
	Lost     string   `json:"lost"`
	Repaired []string `json:"repaired"`
}

// MetricsSeries is a metric with its number of series.
type MetricsSeries struct {
	Name   string `json:"name"`
	Series uint64 `json:"series"`
}

// Stats are the counters of a [Server] since its start; Running, Waiting and Clients
// are those of now.
type Stats struct {
	Requests uint64     `json:"requests"`
	Denied   Counts     `json:"denied"`
	Queries  QueryStats `json:"queries"`
	Live     LiveStats  `json:"live"`
}

// QueryStats counts what reads the metric store.
type QueryStats struct {
	Running  int64  `json:"running"`
	Waiting  int64  `json:"waiting"`
	Total    uint64 `json:"total"`
	Rejected uint64 `json:"rejected"`
	TimedOut uint64 `json:"timedOut"`
	Canceled uint64 `json:"canceled"`
}

// LiveStats counts clients of /api/live.
type LiveStats struct {
	Clients int64 `json:"clients"`
	// Dropped did not read fast enough.
	Dropped uint64 `json:"dropped"`
	// Rejected were too many.
	Rejected uint64 `json:"rejected"`
}
