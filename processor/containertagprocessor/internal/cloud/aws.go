package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/fetch"
)

// tokenSeconds is how long the session token is good for: one attempt with room
// to spare. The service takes 1 to 21600.
const tokenSeconds = "60"

// errMissing says that an answer is JSON, but not what was asked for.
var errMissing = errors.New("a field is missing")

// errToken says that the session token cannot be one.
var errToken = errors.New("the session token is not printable")

// askAWS asks the instance metadata service, version 2:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/retrieve-iid.html
func (s *Source) askAWS(ctx context.Context) ([]entity.Attribute, error) {
	token, err := s.client.Do(ctx, fetch.Request{
		Method: "PUT",
		URL:    s.options.AWS + "/latest/api/token",
		Header: map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": tokenSeconds},
	})
	if err != nil {
		return nil, fmt.Errorf("%w (the instance metadata service must be on, and for a container off the host's network its hop limit 2)", err)
	}
	// It becomes a header, where a line feed would begin another one.
	if !isValue(string(token.Body)) {
		return nil, fmt.Errorf("ask %s for a token: %w", s.options.AWS, errToken)
	}
	answer, err := s.client.Do(ctx, fetch.Request{
		URL:    s.options.AWS + "/latest/dynamic/instance-identity/document",
		Header: map[string]string{"X-aws-ec2-metadata-token": string(token.Body)},
	})
	if err != nil {
		return nil, err
	}
	return parseAWS(answer.Body)
}

// parseAWS reads an instance identity document:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-identity-documents.html
func parseAWS(text []byte) ([]entity.Attribute, error) {
	var document struct {
		AccountID    string `json:"accountId"`
		Region       string `json:"region"`
		Zone         string `json:"availabilityZone"`
		InstanceID   string `json:"instanceId"`
		InstanceType string `json:"instanceType"`
		ImageID      string `json:"imageId"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("parse the instance identity document: %w", err)
	}
	if !isValue(document.InstanceID) {
		return nil, fmt.Errorf("parse the instance identity document: %w: instanceId", errMissing)
	}
	return attributes(
		entity.Attribute{Key: "cloud.provider", Value: string(AWS)},
		entity.Attribute{Key: "cloud.platform", Value: AWS.platform()},
		entity.Attribute{Key: "cloud.account.id", Value: document.AccountID},
		entity.Attribute{Key: "cloud.region", Value: document.Region},
		entity.Attribute{Key: "cloud.availability_zone", Value: document.Zone},
		entity.Attribute{Key: "host.id", Value: document.InstanceID},
		entity.Attribute{Key: "host.type", Value: document.InstanceType},
		entity.Attribute{Key: "host.image.id", Value: document.ImageID},
	), nil
}
