remat_test(test_bound test_bound.c brute.c LIBS remat_planner)
target_compile_definitions(test_bound PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}")
remat_test(test_planner test_planner.c random_graph.c transformer.c LIBS remat_planner)
remat_test(test_offload test_offload.c random_graph.c transformer.c LIBS remat_planner)
