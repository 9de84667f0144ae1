module drowse.dev/cluster/pause

go 1.26.0
