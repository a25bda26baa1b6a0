package cloud

import (
	"path/filepath"
	"strings"

	"github.com/tallymanhq/tallyman/internal/hostfs"
	"github.com/tallymanhq/tallyman/processor/containertagprocessor/internal/entity"
)

// azureTag is the chassis asset tag of every Azure machine: the characters of
// "MSFT AZURE VM" as numbers. Hyper-V elsewhere has the same vendor and product,
// but not this.
const azureTag = "7783-7084-3265-9085-8269-3286-77"

// Provider is a cloud, by its value of cloud.provider.
type Provider string

// The clouds that are known, and None for every other machine.
const (
	None  Provider = ""
	AWS   Provider = "aws"
	GCP   Provider = "gcp"
	Azure Provider = "azure"
)

// platform is the value of cloud.platform for a virtual machine, as in the
// semantic conventions 1.41.
func (p Provider) platform() string {
	switch p {
	case AWS:
		return "aws_ec2"
	case GCP:
		return "gcp_compute_engine"
	case Azure:
		return "azure.vm"
	}
	return ""
}

// Detect returns the cloud that the host's firmware names. It sends nothing.
func Detect(roots hostfs.Roots) Provider { return readDMI(roots).provider() }

// dmi are the fields of /sys/class/dmi/id that tell clouds apart, empty where
// they cannot be read: the kernel shows the UUID to root only.
type dmi struct {
	sysVendor, productName, productUUID string
	biosVendor, biosVersion             string
	boardAssetTag, chassisAssetTag      string
	// xenUUID is /sys/hypervisor/uuid, which everybody may read.
	xenUUID string
}

func readDMI(roots hostfs.Roots) dmi {
	read := func(path ...string) string {
		content, err := hostfs.ReadFile(filepath.Join(append([]string{roots.Sys}, path...)...), nil)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(content))
	}
	id := func(field string) string { return read("class", "dmi", "id", field) }
	return dmi{
		sysVendor:       id("sys_vendor"),
		productName:     id("product_name"),
		productUUID:     id("product_uuid"),
		biosVendor:      id("bios_vendor"),
		biosVersion:     id("bios_version"),
		boardAssetTag:   id("board_asset_tag"),
		chassisAssetTag: id("chassis_asset_tag"),
		xenUUID:         read("hypervisor", "uuid"),
	}
}

func (d dmi) provider() Provider {
	switch {
	case d.isEC2() || d.mayBeEC2():
		return AWS
	// The vendor alone would be a Chromebook too.
	case d.productName == "Google Compute Engine" || d.productName == "Google":
		return GCP
	case d.chassisAssetTag == azureTag:
		return Azure
	}
	return None
}

// isEC2 is true for instances on Nitro and on bare metal.
func (d dmi) isEC2() bool { return d.sysVendor == "Amazon EC2" || d.biosVendor == "Amazon EC2" }

// mayBeEC2 is true for the older instances on Xen, of which the documentation
// says that the sign is good but not certain:
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/identify_ec2_instances.html
func (d dmi) mayBeEC2() bool {
	isXen := strings.HasPrefix(strings.ToLower(d.xenUUID), "ec2") ||
		d.sysVendor == "Xen" && strings.HasPrefix(strings.ToLower(d.productUUID), "ec2")
	return isXen || strings.HasSuffix(strings.ToLower(d.biosVersion), ".amazon")
}

// attributes is what the tables say for certain, without asking anybody.
func (d dmi) attributes() []entity.Attribute {
	provider := d.provider()
	if provider == None || provider == AWS && !d.isEC2() {
		return nil
	}
	all := []entity.Attribute{
		{Key: "cloud.provider", Value: string(provider)},
		{Key: "cloud.platform", Value: provider.platform()},
	}
	if d.isEC2() && strings.HasPrefix(d.boardAssetTag, "i-") {
		all = append(all,
			entity.Attribute{Key: "host.id", Value: d.boardAssetTag},
			entity.Attribute{Key: "host.type", Value: d.productName})
	}
	return attributes(all...)
}
