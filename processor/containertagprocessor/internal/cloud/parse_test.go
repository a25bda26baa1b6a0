package cloud

import (
	"errors"
	"strings"
	"testing"
)

func TestDetect(t *testing.T) {
	f := func(name string, want Provider) {
		t.Helper()
		if have := Detect(machine(t, name)); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	f("nitro", AWS)
	f("xen", AWS)
	f("xen-uuid", AWS)
	f("xen-pv", AWS)
	f("gce", GCP)
	f("azure", Azure)
	f("chromebook", None)
	f("hyperv", None)
	f("own-xen", None)
	f("unlucky", None)
	f("nothing", None)
}

// What is only likely is not told before the service has confirmed it.
func TestAttributesOfDMI(t *testing.T) {
	f := func(name string, want ...string) {
		t.Helper()
		var have []string
		for _, a := range readDMI(machine(t, name)).attributes() {
			have = append(have, a.Key+"="+a.Value)
		}
		if strings.Join(have, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
	f("nitro", "cloud.provider=aws", "cloud.platform=aws_ec2", "host.id=i-0af01c0123456789a", "host.type=m6i.large")
	f("xen")
	f("gce", "cloud.provider=gcp", "cloud.platform=gcp_compute_engine")
	f("azure", "cloud.provider=azure", "cloud.platform=azure.vm")
	f("nothing")
}

func TestRegionOf(t *testing.T) {
	f := func(zone, want string) {
		t.Helper()
		if have := regionOf(zone); have != want {
			t.Errorf("%q: %q, want %q", zone, have, want)
		}
	}
	f("us-west1-b", "us-west1")
	f("europe-west12-c", "europe-west12")
	f("nowhere", "")
	f("", "")
}

func TestAzureImage(t *testing.T) {
	f := func(image azureImage, want string) {
		t.Helper()
		if have := image.id(); have != want {
			t.Errorf("%+v: %q, want %q", image, have, want)
		}
	}
	f(azureImage{Publisher: "Canonical", Offer: "UbuntuServer", SKU: "22_04-lts", Version: "latest"}, "Canonical:UbuntuServer:22_04-lts:latest")
	f(azureImage{ID: "/subscriptions/x/images/own", Publisher: "Canonical"}, "/subscriptions/x/images/own")
	f(azureImage{Publisher: "Canonical", Offer: "UbuntuServer"}, "")
	f(azureImage{}, "")
}

func TestIsValue(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		if isValue(text) != want {
			t.Errorf("%.40q: %v", text, !want)
		}
	}
	f("us-west-2", true)
	f("a b~!", true)
	f(strings.Repeat("x", maxValue), true)
	f("", false)
	f("x\n", false)
	f("ü", false)
	f("\x7f", false)
	f(strings.Repeat("x", maxValue+1), false)
}

func TestParseRefuses(t *testing.T) {
	f := func(text string) {
		t.Helper()
		if have, err := parseAWS([]byte(text)); err == nil {
			t.Errorf("AWS, %q: %v", text, have)
		}
		if have, err := parseAzure([]byte(text)); err == nil {
			t.Errorf("Azure, %q: %v", text, have)
		}
	}
	f("")
	f("<html>")
	f("[]")
	f(`{"instanceId": 7, "vmId": 7}`)
	f(`{"instanceId": "i-\u0001", "vmId": "ü"}`)
	if _, err := parseAWS([]byte("{}")); !errors.Is(err, errMissing) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fixture(f, "aws.json")))
	f.Add([]byte(fixture(f, "azure.json")))
	f.Fuzz(func(t *testing.T, text []byte) {
		aws, _ := parseAWS(text)
		azure, _ := parseAzure(text)
		for _, a := range append(aws, azure...) {
			if !isValue(a.Value) {
				t.Fatalf("%s is %q", a.Key, a.Value)
			}
		}
	})
}
