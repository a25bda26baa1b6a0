package cloud

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
)

const (
	flavorHeader = "Metadata-Flavor"
	flavor       = "Google"
)

var (
	errFlavor = errors.New("the answer is not of Google's metadata service")
	errValue  = errors.New("the value is not short printable text")
)

// askGCP asks Compute Engine's metadata server:
// https://cloud.google.com/compute/docs/metadata/querying-metadata
//
// It asks for single values, not recursively: the whole holds start-up scripts
// and ssh keys, which are no business of ours, and is larger than our limit on
// nodes of Google's Kubernetes.
func (s *Source) askGCP(ctx context.Context) ([]entity.Attribute, error) {
	var id, zone, machine, image, project string
	for _, value := range []struct {
		path string
		into *string
	}{
		{"instance/id", &id},
		{"instance/zone", &zone},
		{"instance/machine-type", &machine},
		{"instance/image", &image},
		{"project/project-id", &project},
	} {
		text, err := s.askGCPValue(ctx, value.path)
		var status *fetch.StatusError
		// A machine that was made from a disk has no image.
		if errors.As(err, &status) && status.Code == 404 && value.into == &image {
			continue
		}
		if err != nil {
			return nil, err
		}
		*value.into = text
	}
	zone = path.Base(zone) // projects/523926462582/zones/us-west1-b
	return attributes(
		entity.Attribute{Key: "cloud.provider", Value: string(GCP)},
		entity.Attribute{Key: "cloud.platform", Value: GCP.platform()},
		entity.Attribute{Key: "cloud.account.id", Value: project},
		entity.Attribute{Key: "cloud.region", Value: regionOf(zone)},
		entity.Attribute{Key: "cloud.availability_zone", Value: zone},
		entity.Attribute{Key: "host.id", Value: id},
		entity.Attribute{Key: "host.type", Value: path.Base(machine)},
		entity.Attribute{Key: "host.image.id", Value: image},
	), nil
}

func (s *Source) askGCPValue(ctx context.Context, key string) (string, error) {
	url := s.options.GCP + "/computeMetadata/v1/" + key
	answer, err := s.client.Do(ctx, fetch.Request{URL: url, Header: map[string]string{flavorHeader: flavor}})
	if err != nil {
		return "", err
	}
	if answer.Header.Get(flavorHeader) != flavor {
		return "", fmt.Errorf("ask %s: %w", url, errFlavor)
	}
	text := strings.TrimSpace(string(answer.Body))
	// An image that was deleted since has an empty name.
	if text != "" && !isValue(text) {
		return "", fmt.Errorf("ask %s: %w", url, errValue)
	}
	return text, nil
}

// regionOf takes the zone's letter off: us-west1-b is in us-west1.
func regionOf(zone string) string {
	end := strings.LastIndexByte(zone, '-')
	if end < 0 {
		return ""
	}
	return zone[:end]
}
