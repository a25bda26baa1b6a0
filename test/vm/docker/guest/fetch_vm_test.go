//go:build vmdocker

package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

var errStatus = errors.New("unexpected status")

// fetch returns the body of a page that answers 200.
func fetch(url string) ([]byte, error) {
	// Emulated, a page of this machine takes a tenth of a second.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err // has verb and URL
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %w: %s: %.200s", url, errStatus, response.Status, body)
	}
	return body, nil
}
