add_executable(chain_table bench/chain_table.c)
target_link_libraries(chain_table PRIVATE remat_frontend remat_planner)
target_include_directories(chain_table PRIVATE ${CMAKE_SOURCE_DIR})
remat_test(test_chain test_chain.c brute.c transformer.c LIBS remat_planner)
