package testkit

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// Busybox is the image that tests run: a static busybox and nothing else.
const Busybox = "tallyman-test/busybox:1"

// BusyboxImage makes sure that the engine has the image Busybox and returns
// its name. No registry is asked: the image is made of this host's busybox,
// which must be a static one (Debian: busybox-static). Its command is sh.
func (e *Engine) BusyboxImage(ctx context.Context) (string, error) {
	_, err := e.api.ImageInspect(ctx, Busybox)
	if err == nil {
		return Busybox, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("look for image %s: %w", Busybox, err)
	}
	layer, err := busyboxLayer(ctx)
	if err != nil {
		return "", err
	}
	return Busybox, e.importImage(ctx, Busybox, bytes.NewReader(layer))
}

// importImage makes an image of the tar stream of a root file system.
func (e *Engine) importImage(ctx context.Context, name string, layer io.Reader) error {
	label := strings.TrimPrefix(name[:strings.LastIndexByte(name, ':')], "tallyman-test/")
	progress, err := e.api.ImageImport(ctx, client.ImageImportSource{Source: layer, SourceName: "-"}, name,
		client.ImageImportOptions{Changes: []string{`CMD ["sh"]`, "LABEL dev.tallyman.test=" + label}})
	if err == nil {
		err = errors.Join(importResult(progress), progress.Close())
	}
	if err != nil {
		return fmt.Errorf("import image %s: %w", name, err)
	}
	return nil
}

var errEngine = errors.New("engine reports")

// importResult reads the engine's progress messages to their end: the image is
// there only then, and an error comes as one of them.
func importResult(progress io.Reader) error {
	decoder := json.NewDecoder(progress)
	for {
		var message struct {
			Error string `json:"error"`
		}
		err := decoder.Decode(&message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read progress: %w", err)
		}
		if message.Error != "" {
			return fmt.Errorf("%w: %s", errEngine, message.Error)
		}
	}
}

// busyboxLayer is a tar stream of a root file system with /bin/busybox and a
// link for each of its applets. About 2 MB, so it is built in memory.
func busyboxLayer(ctx context.Context) ([]byte, error) {
	program, applets, err := readBusybox(ctx)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := writeRoot(w, program, applets); err != nil {
		return nil, fmt.Errorf("write busybox layer: %w", err)
	}
	return layer.Bytes(), nil
}

// readBusybox returns this host's program and the names of the tools in it.
func readBusybox(ctx context.Context) ([]byte, []string, error) {
	file, err := exec.LookPath("busybox")
	if err != nil {
		return nil, nil, fmt.Errorf("find busybox: %w (package busybox-static)", err)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read busybox: %w", err)
	}
	applets, err := exec.CommandContext(ctx, file, "--list").Output()
	if err != nil {
		return nil, nil, fmt.Errorf("list busybox applets: %w", err)
	}
	return program, strings.Fields(string(applets)), nil
}

func writeRoot(w *tar.Writer, program []byte, applets []string) error {
	const passwd = "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
	files := []struct {
		header tar.Header
		body   []byte
	}{
		{tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, nil},
		{tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, nil},
		{tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil},
		{tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte(passwd)},
		{tar.Header{Name: "bin/busybox", Mode: 0o755}, program},
	}
	for _, f := range files {
		f.header.Size = int64(len(f.body))
		if err := w.WriteHeader(&f.header); err != nil {
			return err
		}
		if _, err := w.Write(f.body); err != nil {
			return err
		}
	}
	for _, name := range applets {
		link := tar.Header{Name: "bin/" + name, Linkname: "busybox", Typeflag: tar.TypeSymlink, Mode: 0o777}
		if name == "busybox" {
			continue
		}
		if err := w.WriteHeader(&link); err != nil {
			return err
		}
	}
	return w.Close()
}
