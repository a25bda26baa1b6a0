package flightrecorderextension

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"

	"github.com/tallymanhq/tallyman/internal/recorder/api"
)

const (
	// tokenBytes are 256 bits: nobody guesses them.
	tokenBytes = 32
	// maxTokenFile is far above any token; what is larger is another file.
	maxTokenFile = 4 << 10
)

var (
	errEmptyToken = errors.New("the file is empty (remove it, and a new token is made)")
	errLongToken  = errors.New("the file has more than 4096 bytes: it is no token")
)

// fileToken returns the token in a file. Where there is no file it makes one, and says
// so. The folder must be there. Of two agents that make it at the same time, both get
// the token of the first.
func fileToken(path string) (token string, made bool, err error) {
	token, err = readToken(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, false, err
	}
	err = makeToken(path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", false, fmt.Errorf("make %s: %w", path, err)
	}
	made = err == nil
	token, err = readToken(path)
	return token, made, err
}

// readToken reads and checks what is in the file. Its content is in no error.
func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	token := strings.TrimRight(string(content), "\r\n")
	switch {
	case len(content) > maxTokenFile:
		err = errLongToken
	case token == "":
		err = errEmptyToken
	default:
		err = api.Options{Endpoints: []string{defaultEndpoint}, Token: token}.Validate()
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return token, nil
}

// makeToken writes a new token under another name and gives it its own when it is whole:
// a crash leaves no half of one. The link is refused where somebody was faster.
func makeToken(path string) error {
	random := make([]byte, tokenBytes)
	if _, err := rand.Read(random); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".token-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(base64.RawURLEncoding.EncodeToString(random) + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Link(file.Name(), path)
}

// token returns what is asked for on TCP, and whether a file was made for it.
func (e *recorderExtension) token() (token string, made bool, err error) {
	if e.cfg.TokenFile == "" {
		return e.cfg.token(), false, nil
	}
	if token, made, err = fileToken(e.cfg.TokenFile); err != nil {
		return "", false, fmt.Errorf("token_file: %w", err)
	}
	return token, made, nil
}

// logToken says where the pages are and how to get the token, which itself is in no log.
func (e *recorderExtension) logToken(made bool) {
	if e.cfg.TokenFile == "" || e.cfg.Endpoint == "" {
		return
	}
	e.set.Logger.Info("open the page and give it the token that `tallymanctl token` prints "+
		"(in a container: docker exec CONTAINER /tallymanctl token)",
		zap.String("page", page(e.Addresses()[0])), zap.String("token_file", e.cfg.TokenFile), zap.Bool("made", made))
}

// page is an address as a browser on this host takes it: of all addresses, localhost.
func page(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(u.Hostname()); ip.IsUnspecified() || ip.IsLoopback() {
		u.Host = net.JoinHostPort("localhost", u.Port())
	}
	return u.String()
}
