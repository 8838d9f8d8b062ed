# The graph, its checker and text; the passes over it.
remat_test(test_ir test_ir.c small_net.c random_graph.c LIBS remat_ir)
remat_test(test_glob test_glob.c LIBS remat_ir TIMEOUT 60)
remat_test(test_passes test_passes.c small_net.c random_graph.c LIBS remat_ir)
