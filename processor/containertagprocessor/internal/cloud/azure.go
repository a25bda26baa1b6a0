package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
)

// azureVersion is the last version of the interface before userData became part
// of the answer (2021-01-01): it may hold secrets, and up to 64 KB of them.
const azureVersion = "2020-09-01"

// askAzure asks the instance metadata service:
// https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service
func (s *Source) askAzure(ctx context.Context) ([]entity.Attribute, error) {
	answer, err := s.client.Do(ctx, fetch.Request{
		URL:    s.options.Azure + "/metadata/instance/compute?api-version=" + azureVersion + "&format=json",
		Header: map[string]string{"Metadata": "true"},
	})
	if err != nil {
		return nil, err
	}
	return parseAzure(answer.Body)
}

func parseAzure(text []byte) ([]entity.Attribute, error) {
	var compute struct {
		Location       string `json:"location"`
		SubscriptionID string `json:"subscriptionId"`
		VMID           string `json:"vmId"`
		VMSize         string `json:"vmSize"`
		Zone           string `json:"zone"`
		StorageProfile struct {
			Image azureImage `json:"imageReference"`
		} `json:"storageProfile"`
	}
	if err := json.Unmarshal(text, &compute); err != nil {
		return nil, fmt.Errorf("parse Azure instance metadata: %w", err)
	}
	if !isValue(compute.VMID) {
		return nil, fmt.Errorf("parse Azure instance metadata: %w: vmId", errMissing)
	}
	return attributes(
		entity.Attribute{Key: "cloud.provider", Value: string(Azure)},
		entity.Attribute{Key: "cloud.platform", Value: Azure.platform()},
		entity.Attribute{Key: "cloud.account.id", Value: compute.SubscriptionID},
		entity.Attribute{Key: "cloud.region", Value: compute.Location},
		entity.Attribute{Key: "cloud.availability_zone", Value: compute.Zone},
		entity.Attribute{Key: "host.id", Value: compute.VMID},
		entity.Attribute{Key: "host.type", Value: compute.VMSize},
		entity.Attribute{Key: "host.image.id", Value: compute.StorageProfile.Image.id()},
	), nil
}

// azureImage is a user's own image, which has an id, or one of the marketplace,
// which has the other four.
type azureImage struct {
	ID        string `json:"id"`
	Publisher string `json:"publisher"`
	Offer     string `json:"offer"`
	SKU       string `json:"sku"`
	Version   string `json:"version"`
}

// id returns a marketplace image in the form that Azure's tools call URN.
func (i azureImage) id() string {
	if i.ID != "" {
		return i.ID
	}
	if i.Publisher == "" || i.Offer == "" || i.SKU == "" || i.Version == "" {
		return ""
	}
	return strings.Join([]string{i.Publisher, i.Offer, i.SKU, i.Version}, ":")
}
