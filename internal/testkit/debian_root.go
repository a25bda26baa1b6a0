package testkit

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"strings"
)

// daemons are users that the packages' scripts would make, for programs that leave
// root by themselves or refuse it.
const daemons = "bind memcache mosquitto mysql postgres rabbitmq redis unbound www-data"

// firstDaemon is where Debian begins to count system users.
const firstDaemon = 100

// unneeded are folders of a package that no program reads while it runs; the last
// is PostgreSQL's for its compiler, which is not there.
const unneeded = "usr/share/doc/ usr/share/info/ usr/share/lintian/ usr/share/locale/ usr/share/man/ */bitcode/"

// rootWriter puts packages together in one tar stream of a root file system.
type rootWriter struct {
	*tar.Writer
	seen map[string]bool
}

func writeDebianRoot(ctx context.Context, file string, debs []string) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := &rootWriter{Writer: tar.NewWriter(buffered), seen: map[string]bool{}}
	err = w.base()
	for _, deb := range debs {
		if err == nil {
			err = w.unpack(ctx, deb)
		}
	}
	if err == nil {
		err = w.busybox(ctx)
	}
	return errors.Join(err, w.Close(), buffered.Flush(), out.Close())
}

// base writes what no package brings: a merged /usr, as all releases have it by
// now, and the users.
func (w *rootWriter) base() error {
	for _, dir := range []string{"usr/", "usr/bin/", "usr/sbin/", "usr/lib/", "usr/lib64/", "etc/", "root/", "run/", "var/"} {
		w.seen[strings.TrimSuffix(dir, "/")] = true
		if err := w.WriteHeader(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
			return err
		}
	}
	for _, name := range []string{"tmp", "var/tmp"} {
		w.seen[name] = true
		if err := w.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o1777}); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := w.link(name, "usr/"+name); err != nil {
			return err
		}
	}
	passwd, group := "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n", "root:x:0:\nnogroup:x:65534:\n"
	for n, name := range strings.Fields(daemons) {
		passwd += fmt.Sprintf("%s:x:%[2]d:%[2]d:%[1]s:/var/lib/%[1]s:/bin/sh\n", name, firstDaemon+n)
		group += fmt.Sprintf("%s:x:%d:\n", name, firstDaemon+n)
	}
	return errors.Join(w.file("etc/passwd", 0o644, []byte(passwd)), w.file("etc/group", 0o644, []byte(group)))
}

// unpack adds the files of a package.
func (w *rootWriter) unpack(ctx context.Context, deb string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	cmd.Stderr = os.Stderr
	stream, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("unpack %s: %w", path.Base(deb), err)
	}
	err = w.addAll(tar.NewReader(stream))
	// Also what pads the end, and what is left after an error: dpkg-deb would
	// wait for a reader, or complain that there is none.
	_, drained := io.Copy(io.Discard, stream)
	if err = errors.Join(err, drained, cmd.Wait()); err != nil {
		return fmt.Errorf("unpack %s: %w", path.Base(deb), err)
	}
	return nil
}

func (w *rootWriter) addAll(from *tar.Reader) error {
	for {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := placeInRoot(header.Name)
		if name == "" || w.seen[name] || isUnneeded(name) {
			continue
		}
		w.seen[name] = true
		header.Name = name
		if header.Typeflag == tar.TypeDir {
			header.Name += "/"
		}
		if header.Typeflag == tar.TypeLink {
			header.Linkname = placeInRoot(header.Linkname)
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.Copy(w, from); err != nil {
			return err
		}
	}
}

// placeInRoot is where a package's file is, as "./lib/x" is "usr/lib/x"; "" is a
// folder that is there already.
func placeInRoot(name string) string {
	name = path.Clean("/" + name)[1:]
	switch first, rest, _ := strings.Cut(name, "/"); first {
	case "bin", "sbin", "lib", "lib64":
		if rest == "" {
			return ""
		}
		return "usr/" + name
	}
	return name
}

// isUnneeded tells of what is below a folder; the folder itself may stay.
func isUnneeded(name string) bool {
	for _, pattern := range strings.Fields(unneeded) {
		if part, anywhere := strings.CutPrefix(pattern, "*"); anywhere && strings.Contains(name, part) ||
			strings.HasPrefix(name, pattern) {
			return true
		}
	}
	return false
}

// busybox adds the host's, with a link for each tool that no package brings.
func (w *rootWriter) busybox(ctx context.Context) error {
	program, applets, err := readBusybox(ctx)
	if err != nil {
		return err
	}
	if err := w.file("usr/bin/busybox", 0o755, program); err != nil {
		return err
	}
	for _, name := range applets {
		if w.seen["usr/bin/"+name] || w.seen["usr/sbin/"+name] {
			continue
		}
		if err := w.link("usr/bin/"+name, "busybox"); err != nil {
			return err
		}
	}
	return nil
}

func (w *rootWriter) file(name string, mode int64, body []byte) error {
	w.seen[name] = true
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(body))}); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

func (w *rootWriter) link(name, target string) error {
	w.seen[name] = true
	return w.WriteHeader(&tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink, Mode: 0o777})
}
