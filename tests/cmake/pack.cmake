remat_test(test_pack ${CMAKE_CURRENT_SOURCE_DIR}/test_pack.c LIBS remat_planner)
