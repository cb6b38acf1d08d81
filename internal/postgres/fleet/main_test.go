package fleet_test

import (
	"testing"

	"github.com/picloud/picloud/internal/testdb"
)

func TestMain(m *testing.M) { testdb.Main(m) }
