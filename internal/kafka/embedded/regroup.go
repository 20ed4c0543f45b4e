package embedded

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// regroup is how long after a start groups take no members. Memberships do not survive a restart, unlike on a real
// Kafka: without this pause a new worker would be given partitions while a worker of before still takes them for its own.
// Within it that worker's commits, sent several times a second, tell it that it is out.
const regroup = 500 * time.Millisecond

func holdGroups(c *kfake.Cluster) {
	from := time.Now()
	c.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if time.Since(from) >= regroup {
			c.DropControl()
			return nil, nil, false
		}
		c.KeepControl()
		resp := r.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, true
	})
}
