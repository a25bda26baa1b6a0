package kubelet

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// hashLabel is what a Deployment puts onto the pods of each of its ReplicaSets,
// and to the end of their names.
const hashLabel = "pod-template-hash"

// ownersOf names the objects that the pod belongs to, by the reference to its
// controller.
func ownersOf(m *metadata) entity.Owners {
	i := slices.IndexFunc(m.Owners, func(o owner) bool { return o.Controller })
	if i < 0 {
		return entity.Owners{}
	}
	name := m.Owners[i].Name
	switch m.Owners[i].Kind {
	case "ReplicaSet":
		return entity.Owners{ReplicaSet: name, Deployment: deploymentOf(name, m.Labels[hashLabel])}
	case "StatefulSet":
		return entity.Owners{StatefulSet: name}
	case "DaemonSet":
		return entity.Owners{DaemonSet: name}
	case "Job":
		return entity.Owners{Job: name, CronJob: cronJobOf(name)}
	}
	return entity.Owners{}
}

// deploymentOf returns "" for a ReplicaSet that stands alone.
func deploymentOf(replicaSet, hash string) string {
	if hash == "" {
		return ""
	}
	deployment, ok := strings.CutSuffix(replicaSet, "-"+hash)
	if !ok {
		return ""
	}
	return deployment
}

// Kubernetes had its first release in 2014: no job was scheduled before.
const (
	firstSecond = 1_388_534_400 // 2014-01-01
	firstMinute = firstSecond / 60
)

// cronJobOf infers the CronJob from the time at the end of a Job's name: since
// Kubernetes 1.21 minutes since 1970, which have eight digits until 2160;
// before, seconds, which have ten. A date such as 20260131 reads as minutes of
// the year 2008, so a Job that somebody named after a day is not mistaken.
func cronJobOf(job string) string {
	dash := strings.LastIndexByte(job, '-')
	if dash <= 0 {
		return ""
	}
	digits := job[dash+1:]
	if strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return ""
	}
	if len(digits) == 8 && n >= firstMinute || len(digits) == 10 && n >= firstSecond {
		return job[:dash]
	}
	return ""
}
