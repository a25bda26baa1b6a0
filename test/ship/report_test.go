package ship_test

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tallymanhq/tallyman/internal/testkit"
)

const (
	// captureWithin is two minutes, which a capture goes on after its trigger, and what a busy
	// machine takes to write it.
	captureWithin = 4 * time.Minute
	// mib is a mebibyte in bytes.
	mib = 1 << 20
	// victimUser is neither root nor who the agent is.
	victimUser = 1000
	// killed is what the kernel says.
	killed = "memory cgroup out of memory"
)

// pictures are what the recorder has seen of a victim when it was killed.
type pictures struct {
	hasKernel bool // what the kernel said
	hasFiles  bool // how many files a process of the victim's user has open
}

// process is as much of one in a picture as is looked at.
type process struct {
	UID   int    `json:"uid"`
	Files int    `json:"files"`
	RSS   uint64 `json:"rss"`
}

func (p *pictures) add(kernel string, processes []process) {
	p.hasKernel = p.hasKernel || strings.Contains(strings.ToLower(kernel), killed)
	for _, one := range processes {
		// One that has given its memory back and not yet its files is root's for that
		// moment (task_dump_owner in fs/proc/base.c).
		p.hasFiles = p.hasFiles || one.UID == victimUser && one.Files > 0 && one.RSS > 0
	}
}

// lookAtPictures adds what is beside the journals of captures that are still open, for two
// minutes after the kill. What has been seen of a victim stays so.
func (a *agent) lookAtPictures() error {
	files, err := filepath.Glob(filepath.Join(a.state, "recorder", "captures", "open", "*", "picture-*.json"))
	for _, file := range files {
		text, errRead := readIfThere(file)
		err = errors.Join(err, errRead)
		var picture struct {
			Container string
			Kernel    string
			Processes []process
		}
		// One that is being written is read whole at the next look.
		if json.Unmarshal([]byte(text), &picture) == nil && picture.Container == a.victim.ID {
			a.pictures.add(picture.Kernel, picture.Processes)
		}
	}
	return err
}

// reports waits for a finished capture that has what the kernel said. It may be another
// victim's: of many at a time the recorder keeps eight open, and notes the others in them.
func (a *agent) reports(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, captureWithin, func() error {
		files, err := filepath.Glob(filepath.Join(a.state, "recorder/captures/*.tmcap"))
		if err != nil {
			return err
		}
		missing := errMissing
		for _, file := range files {
			said, err := member(file, "oom/kmsg.txt")
			if err == nil && strings.Contains(strings.ToLower(said), killed) {
				return nil
			}
			missing = errors.Join(missing, err)
		}
		return missing
	})
}

// member is the text of a file in a capture.
func member(file, name string) (string, error) {
	bundle, err := zip.OpenReader(file)
	if err != nil {
		return "", err
	}
	defer bundle.Close()
	f, err := bundle.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	return string(text), err
}
