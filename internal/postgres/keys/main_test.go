package keys_test

import (
	"testing"

	"github.com/picloud/picloud"
	"github.com/picloud/picloud/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }

var root = testdb.Root

const (
	viewer    = picloud.RoleViewer
	developer = picloud.RoleDeveloper
)
