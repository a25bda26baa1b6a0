package cri

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimev1 "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/rounds"
)

// pass is one listing and what is remembered for its length only.
type pass struct {
	*session
	ctx    context.Context
	images map[string]imageFacts
	// slow: a call for details timed out. One container that hangs must not
	// cost a deadline for each of the others.
	slow bool
}

// list asks what there is and tells the sink what has changed.
func (p *session) list(ctx context.Context) (err error) {
	wants := p.source.wants.Take()
	defer func() {
		if err != nil {
			p.source.wants.Return(wants)
		}
	}()
	sandboxes, err := p.listSandboxes(ctx)
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", err)
	}
	containers, err := p.listContainers(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	v := &p.source.view
	v.takeContainers(containers)
	v.takeSandboxes(sandboxes)

	now := &pass{session: p, ctx: ctx, images: make(map[string]imageFacts)}
	if err := now.sandboxes(); err != nil {
		return err
	}
	now.pods()
	if err := now.containers(); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(v.gone)) {
		p.sink.ContainerGone(p.source.Name(), id)
	}
	clear(v.gone)
	p.answer(wants)
	return nil
}

func (p *session) listSandboxes(ctx context.Context) ([]*runtimev1.PodSandbox, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	answer, err := p.runtime.ListPodSandbox(ctx, &runtimev1.ListPodSandboxRequest{})
	return answer.GetItems(), err
}

func (p *session) listContainers(ctx context.Context) ([]*runtimev1.Container, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	answer, err := p.runtime.ListContainers(ctx, &runtimev1.ListContainersRequest{})
	return answer.GetContainers(), err
}

// sandboxes completes what is known of sandboxes and tells what is new.
func (p *pass) sandboxes() error {
	for _, sb := range inOrder(p.source.view.sandboxes) {
		if !sb.net.settled {
			if err := p.askNetwork(sb); err != nil {
				return err
			}
		}
		if !sb.mark.told || sb.mark.ended != sb.ended() {
			p.tell(&sb.mark, sb.ended(), p.entityOfSandbox(sb))
		}
	}
	return nil
}

// tell says what a container or sandbox is, and that it has ended if so: its
// tags stay for what is late, and nobody takes it for the one that lives.
func (p *session) tell(m *mark, ended bool, c *entity.Container) {
	if !m.told || !ended {
		p.sink.PutContainer(p.source.Name(), c)
	}
	if ended {
		p.sink.ContainerGone(p.source.Name(), c.ID)
	}
	*m = mark{told: true, ended: ended}
}

// askNetwork asks for the addresses of a sandbox. An error is one of the
// connection, not of the sandbox.
func (p *pass) askNetwork(sb *sandbox) error {
	if sb.ended() {
		// Its addresses may be another pod's already.
		sb.net = network{settled: true}
		return nil
	}
	if p.slow || !sb.asked.due(false) {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, callWithin)
	defer cancel()
	answer, err := p.runtime.PodSandboxStatus(ctx, &runtimev1.PodSandboxStatusRequest{PodSandboxId: sb.raw.GetId()})
	if err == nil {
		sb.net = networkOf(answer.GetStatus())
	}
	return p.judge("ask status of sandbox "+sb.raw.GetId(), err)
}

// pods tells of pods that are new or have changed, and of those that went.
func (p *pass) pods() {
	v := &p.source.view
	pods := make(map[string]*entity.Pod)
	for _, sb := range v.newest() {
		pod := entityOfPod(sb)
		pods[pod.UID] = pod
		if hash := pod.Annotations[hashAnnotation]; hash != "" && hash != pod.UID {
			twin := *pod
			twin.UID = hash
			pods[hash] = &twin
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(pods)) {
		if v.again || !reflect.DeepEqual(v.pods[uid], pods[uid]) {
			p.sink.PutPod(p.source.Name(), pods[uid])
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(v.pods)) {
		if pods[uid] == nil {
			p.sink.PodGone(p.source.Name(), uid)
		}
	}
	v.pods, v.again = pods, false
}

// containers completes what is known of containers and tells what is new.
func (p *pass) containers() error {
	v := &p.source.view
	sole := v.sole()
	for _, c := range inOrder(v.containers) {
		if err := p.askDetails(c); err != nil {
			return err
		}
		sb := v.sandboxes[c.raw.GetPodSandboxId()]
		c.setAddresses(sb, sole)
		if !c.mark.told || c.mark.ended != c.ended() {
			p.tell(&c.mark, c.ended(), p.entityOf(c, sb))
		}
	}
	return nil
}

// answer tells those who wanted something what became of it. What was known
// before is told again: who asks has lost it, or has asked a moment too early.
func (p *session) answer(wants map[rounds.Want]struct{}) {
	v, name := &p.source.view, p.source.Name()
	for w := range wants {
		if pod := v.pods[w.PodUID]; pod != nil {
			p.sink.PutPod(name, pod)
		}
		if w.ID == "" {
			continue
		}
		if c := v.containers[w.ID]; c != nil {
			c.mark.told = false
			p.tell(&c.mark, c.ended(), p.entityOf(c, v.sandboxes[c.raw.GetPodSandboxId()]))
			continue
		}
		if sb := v.sandboxes[w.ID]; sb != nil {
			sb.mark.told = false
			p.tell(&sb.mark, sb.ended(), p.entityOfSandbox(sb))
			continue
		}
		p.sink.Absent(name, w.ID)
	}
}

// judge tells an error of the connection, which it returns, from one of the
// thing that was asked for, which will be asked for again.
func (p *pass) judge(what string, err error) error {
	if err == nil {
		return nil
	}
	if p.ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch status.Code(err) {
	case codes.Unavailable:
		return fmt.Errorf("%s: %w", what, err)
	case codes.DeadlineExceeded:
		p.slow = true
	}
	return nil
}
