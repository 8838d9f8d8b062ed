# The graph, its checker and text; the passes over it.
remat_test(test_ir unit/test_ir.c support/small_net.c support/random_graph.c LIBS remat_ir)
set(nets support/net_nodes.c support/small_net.c support/random_graph.c)
remat_test(test_glob unit/test_glob.c LIBS remat_ir TIMEOUT 60)
remat_test(test_autodiff unit/test_autodiff.c ${nets} LIBS remat_ir)
remat_test(test_passes unit/test_passes.c ${nets} LIBS remat_ir)
remat_test(test_fuse unit/test_fuse.c ${nets} LIBS remat_ir)
